"""Where the tenant's endpoints are and which keys it signs with, kept in the process."""

import threading
import time
from typing import Any
from urllib.parse import urlsplit

import jwt

from portal.accounts.conf import microsoft
from portal.accounts.outbound import OutboundSession

LIFETIME = 3600.0  # seconds a document is kept
PROBED = 30.0  # seconds for which an answer counts as a sign of life
RETRY = 60.0  # seconds between two looks for a key that is not there

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Untrusted(Exception):
    """What Microsoft answered, or what claims to be Microsoft's, does not hold."""


class Discovery:
    """The discovery document and the keys of one tenant."""

    def __init__(self, authority: str, tenant: str, ca_file: str) -> None:
        self.issuer = f"{authority}/{tenant}/v2.0"
        self._origin = _origin(authority)
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._document: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, dict[str, jwt.PyJWK]] | None = None
        self._probed = float("-inf")

    def probe(self) -> None:
        """Raise requests.RequestException where Microsoft does not answer now, whatever is kept of it."""
        if time.monotonic() - self._probed > PROBED:
            self._fetch(f"{self.issuer}/.well-known/openid-configuration")
            self._probed = time.monotonic()

    def endpoint(self, name: str) -> str:
        """Return an endpoint's address; raise requests.RequestException when it cannot be had."""
        return str(self._documents()[name])

    def key(self, kid: str) -> jwt.PyJWK:
        """Return the key called `kid`; raise Untrusted when the tenant has none of that name.

        A name that is not known makes the keys be read again, once a minute at most: Microsoft replaces them.
        """
        with self._lock:
            now = time.monotonic()
            if self._keys is None or now - self._keys[0] > (LIFETIME if kid in self._keys[1] else RETRY):
                self._keys = now, self._read_keys()
            found = self._keys[1].get(kid)
        if found is None:
            raise Untrusted("The token is signed with a key that the tenant does not have.")
        return found

    def _documents(self) -> dict[str, Any]:
        with self._lock:
            return self._documents_locked()

    def _documents_locked(self) -> dict[str, Any]:
        now = time.monotonic()
        if self._document is None or now - self._document[0] > LIFETIME:
            document = self._fetch(f"{self.issuer}/.well-known/openid-configuration")
            if document.get("issuer") != self.issuer:
                raise Untrusted("The discovery document belongs to another issuer.")
            if any(_origin(str(document.get(name))) != self._origin for name in ENDPOINTS):
                raise Untrusted("The discovery document names an endpoint of another host.")
            self._document = now, document
        return self._document[1]

    def _read_keys(self) -> dict[str, jwt.PyJWK]:
        rows = self._fetch(str(self._documents_locked()["jwks_uri"])).get("keys", ())
        usable = [
            row
            for row in rows
            if row.get("kty") == "RSA" and row.get("use", "sig") == "sig" and row.get("kid")
        ]
        return {row["kid"]: jwt.PyJWK(row, algorithm="RS256") for row in usable}

    def _fetch(self, url: str) -> dict[str, Any]:
        with OutboundSession(ca_file=self._ca_file) as session:
            answer = session.get(url)
            answer.raise_for_status()
            try:
                return dict(answer.json())
            except (TypeError, ValueError) as error:
                raise Untrusted("Microsoft's answer cannot be read.") from error


_known: dict[tuple[str, str, str], Discovery] = {}


def discovery() -> Discovery:
    """Return the discovery of the tenant in the settings: one for each process."""
    wanted = (microsoft.authority, microsoft.tenant_id, microsoft.ca_file)
    return _known.setdefault(wanted, Discovery(*wanted))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port

"""What the stand-in signs: id tokens with Entra's claims and access tokens for Graph."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from portal.demo.identity.clients import Client, Code
from portal.demo.identity.directory import Account, Directory
from portal.demo.identity.material import TENANT_ID

GRAPH_AUDIENCE = "https://graph.microsoft.com"
LIFETIME = 3600  # seconds
GROUPS_IN_TOKEN = 200  # Entra ID puts no more than these into a token


class Keys:
    """The signing keys: the newest signs, all are published."""

    def __init__(self, path: Path) -> None:
        self._keys = [RSAKey.import_key(path.read_text())]

    @property
    def current(self) -> RSAKey:
        """The key that signs."""
        return self._keys[-1]

    def rotate(self) -> None:
        """Sign with a new key from now on; the older ones stay published."""
        self._keys.append(RSAKey.generate_key(2048))

    def header(self, alg: str = "RS256") -> dict[str, Any]:
        """Return the header of a token signed by the current key."""
        return {"alg": alg, "kid": self.current.thumbprint()}

    def public(self) -> KeySet:
        """Return all public keys."""
        rows = [key.as_dict(private=False) | {"kid": key.thumbprint(), "use": "sig"} for key in self._keys]
        return KeySet.import_key_set({"keys": rows})

    def published(self) -> dict[str, Any]:
        """Return the document at the keys endpoint (which, like Microsoft's, names no algorithm)."""
        return dict(self.public().as_dict(private=False))


@dataclass
class Distortion:
    """What is wrong with the next id token: for tests that a portal must refuse it."""

    claims: dict[str, Any] = field(default_factory=dict)  # put over the right ones
    drop: list[str] = field(default_factory=list)
    header: dict[str, Any] = field(default_factory=dict)
    forge: str = ""  # "none", "HS256" (the public key as secret), "stranger" (another key under our kid)


def sign(claims: dict[str, Any], keys: Keys, distortion: Distortion | None = None) -> str:
    """Return a signed token, distorted when asked for."""
    if distortion is None:
        return jwt.encode(keys.header(), claims, keys.current, ["RS256"])
    claims = {
        name: value for name, value in (claims | distortion.claims).items() if name not in distortion.drop
    }
    header = keys.header() | distortion.header
    if distortion.forge in ("none", "HS256"):
        return _forged(header | {"alg": distortion.forge}, claims, keys)
    key = RSAKey.generate_key(2048) if distortion.forge == "stranger" else keys.current
    alg = str(header["alg"])
    return _assembled(header, claims) if alg == "none" else jwt.encode(header, claims, key, [alg])


def _assembled(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return ".".join(base64url(json.dumps(part).encode()) for part in (header, claims)) + "."


def _forged(header: dict[str, Any], claims: dict[str, Any], keys: Keys) -> str:
    token = _assembled(header, claims)
    if header["alg"] == "none":
        return token
    secret = keys.current.as_pem(private=False)
    return token + base64url(hmac.new(secret, token[:-1].encode(), hashlib.sha256).digest())


def base64url(data: bytes) -> str:
    """Encode as JWTs do: URL-safe, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pairwise(account: Account, client: Client) -> str:
    """Return the subject: another one for each application, so never a key to a person."""
    digest = hashlib.sha256(f"{account.oid}:{client.client_id}".encode()).digest()
    return base64url(digest)


def id_token_claims(
    account: Account, client: Client, directory: Directory, *, issuer: str, origin: str, code: Code
) -> dict[str, Any]:
    """Return the claims of an id token as the v2.0 endpoint issues it, app roles and group claims included.

    The registration is one that asks for the optional claims auth_time and acrs.
    """
    now = int(time.time())
    claims: dict[str, Any] = {
        "aud": client.client_id,
        "iss": issuer,
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
        "name": account.name,
        "nonce": code.nonce,
        "auth_time": code.auth_time,
        "oid": account.oid,
        "preferred_username": account.email,
        "email": account.email_claim or account.email,
        "login_hint": base64url(f"O.{account.email}".encode()),
        "sid": code.sid,
        "sub": pairwise(account, client),
        "tid": account.tenant,
        "uti": base64url(uuid.uuid4().bytes),
        "ver": "2.0",
    }
    if account.roles:
        claims["roles"] = list(account.roles)
    if code.contexts:
        claims["acrs"] = sorted(code.contexts)
    if account.guest:
        claims |= {"acct": 1, "idp": "https://sts.windows.net/7d1f0a4e-2b6c-4c1a-9a57-5f3e8d2b4c60/"}
    claims |= _group_claims(account, directory, origin)
    return claims | account.claims


def _group_claims(account: Account, directory: Directory, origin: str) -> dict[str, Any]:
    groups = [group.oid for group in directory.groups_of(account)] if account.home else []
    if len(groups) <= GROUPS_IN_TOKEN:
        return {"groups": groups} if groups else {}
    endpoint = f"{origin}/v1.0/users/{account.oid}/getMemberObjects"
    return {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": endpoint}}}


def graph_token(client: Client, keys: Keys, issuer: str) -> str:
    """Return an app-only access token for Graph."""
    now = int(time.time())
    claims = {
        "aud": GRAPH_AUDIENCE,
        "iss": issuer,
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
        "appid": client.client_id,
        "idtyp": "app",
        "roles": list(client.app_permissions),
        "tid": TENANT_ID,
        "ver": "1.0",
    }
    return jwt.encode(keys.header(), claims, keys.current, ["RS256"])

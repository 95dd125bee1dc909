"""Recognize a secret: HMAC-SHA256 under a numbered pepper that lives outside the database."""

import hashlib
import hmac
from dataclasses import dataclass

from django.conf import settings

from portal.lib import secrets

_DUMMY = b"\x00" * 32


@dataclass(frozen=True, slots=True)
class Issued:
    """A new secret: what is stored, and ``secret`` itself, which is shown once and kept nowhere."""

    key_id: str
    pepper_id: int
    digest: bytes
    hint: str
    secret: str


def digest(secret: str, pepper_id: int) -> bytes:
    """Return the HMAC of the whole secret under the pepper; raise KeyError when the pepper is missing."""
    pepper: bytes = settings.PEPPERS[pepper_id]
    return hmac.digest(pepper, secret.encode(), hashlib.sha256)


def digests(secret: str) -> dict[int, bytes]:
    """Return the HMAC under every live pepper, for a look-up that does not yet know which one was used."""
    return {number: digest(secret, number) for number in settings.PEPPERS}


def issue(kind: str, *, key_id: str | None = None) -> Issued:
    """Make a new secret of the kind, under the newest pepper; with ``key_id`` it replaces the one of that id."""
    key_id, secret = secrets.generate(kind, key_id)
    newest = max(settings.PEPPERS)
    return Issued(key_id, newest, digest(secret, newest), secrets.hint(secret), secret)


def matches(secret: str, pepper_id: int | None, stored: bytes | None) -> bool:
    """Compare in constant time; an unknown id is compared with a dummy so that it takes as long."""
    if pepper_id is None or stored is None or pepper_id not in settings.PEPPERS:
        hmac.compare_digest(digest(secret, max(settings.PEPPERS)), _DUMMY)
        return False
    return hmac.compare_digest(digest(secret, pepper_id), bytes(stored))

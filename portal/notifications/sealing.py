"""Addresses and secrets of webhooks at rest: encrypted and authenticated, by a key made from PORTAL_SECRET_KEY.

A secret has to be read back to sign with it, so it cannot be kept as a digest. It is Fernet (AES-128-CBC with
HMAC-SHA256) under a key that HKDF-SHA256 (RFC 5869) derives for this purpose alone. While the secret key is being
replaced, PORTAL_SECRET_KEY_FALLBACKS still open what was sealed before.
"""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_PURPOSE = b"portal.notifications.webhooks"


class Unreadable(Exception):
    """What is sealed was sealed under another secret key."""


def seal(text: str) -> bytes:
    """Return the text as it is stored."""
    return _keys().encrypt(text.encode())


def unseal(sealed: bytes | memoryview) -> str:
    """Return the text again; an empty one for nothing. Raise Unreadable when the key is another."""
    if not sealed:
        return ""
    try:
        return _keys().decrypt(bytes(sealed)).decode()
    except InvalidToken:
        raise Unreadable(
            "It was sealed under another PORTAL_SECRET_KEY. Remove the webhook and add it again."
        ) from None


def _keys() -> MultiFernet:
    return MultiFernet([_fernet(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _fernet(key: str | bytes) -> Fernet:
    material = key.encode() if isinstance(key, str) else key
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(material)
    return Fernet(base64.urlsafe_b64encode(derived))

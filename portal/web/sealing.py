"""What has to be read again and may not lie about: encrypted and authenticated, by a key made from PORTAL_SECRET_KEY.

It is Fernet (AES-128-CBC with HMAC-SHA256) under a key that HKDF-SHA256 (RFC 5869) derives for one purpose alone, so
that nothing sealed for one is taken for another's. While the secret key is being replaced, PORTAL_SECRET_KEY_FALLBACKS
still open what was sealed before.
"""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

WEBHOOKS = b"portal.notifications.webhooks"
"""Addresses and signing secrets: a secret is read back to sign with it, so it cannot be kept as a digest."""
WAITING_FORM = b"portal.accounts.step_up"
"""What a person has filled in and not sent yet."""


class Unreadable(Exception):
    """What is sealed was sealed under another secret key, or for another purpose."""


def seal(text: str, purpose: bytes) -> bytes:
    """Return the text as it is stored, in URL-safe base64."""
    return _keys(purpose).encrypt(text.encode())


def unseal(sealed: bytes | memoryview, purpose: bytes) -> str:
    """Return the text again; an empty one for nothing. Raise Unreadable when the key is another."""
    if not sealed:
        return ""
    try:
        return _keys(purpose).decrypt(bytes(sealed)).decode()
    except InvalidToken:
        raise Unreadable(
            "It was sealed under another PORTAL_SECRET_KEY and has to be entered again."
        ) from None


def _keys(purpose: bytes) -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return MultiFernet([_fernet(key, purpose) for key in keys])


def _fernet(key: str | bytes, purpose: bytes) -> Fernet:
    material = key.encode() if isinstance(key, str) else key
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(material)
    return Fernet(base64.urlsafe_b64encode(derived))

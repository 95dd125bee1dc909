"""Reservation ids: signed and self-describing, so that usage can be attributed and priced from one alone.

The id is 97 bytes of fields and 16 bytes of BLAKE2b under a key derived from the secret key, in base64url.
"""

import base64
import hashlib
import hmac
import struct
from binascii import b2a_base64
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings

_FIELDS = struct.Struct(">BQQQQQQqI12s12s12s")
_VERSION = 1
_MAC = 16
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class Reservation(NamedTuple):
    """What an authorization held: who, for what, how much (nano-units, tokens), and when (milliseconds)."""

    moment: int
    project: int
    group: int
    person: int
    draws_on: int
    price: int
    amount: int
    tokens: int
    credential: str
    gateway: str
    request: bytes  # the hash of the request id

    @property
    def key(self) -> str:
        """The key of its record in Valkey."""
        return record_key(self.gateway, self.request)


def request_hash(request_id: str) -> bytes:
    """Return 96 bits that stand for the request id."""
    return hashlib.blake2b(request_id.encode(), digest_size=12).digest()


def record_key(gateway: str, request: bytes) -> str:
    """Return the key of a reservation's record in Valkey."""
    return f"r:{gateway}:{_text(request)}"


def _text(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).translate(_URL_SAFE).decode()


@lru_cache(maxsize=4)
def _key(secret: str) -> bytes:
    return hashlib.sha256(b"portal.decision.reservation:" + secret.encode()).digest()


def _mac(body: bytes) -> bytes:
    # Keyed BLAKE2b is a MAC by itself (RFC 7693).
    return hashlib.blake2b(body, digest_size=_MAC, key=_key(settings.SECRET_KEY)).digest()


def encode(held: Reservation) -> str:
    """Return the id."""
    body = _FIELDS.pack(
        _VERSION,
        held.moment,
        held.project,
        held.group,
        held.person,
        held.draws_on,
        held.price,
        held.amount,
        min(held.tokens, 0xFFFFFFFF),
        held.credential.encode(),
        held.gateway.encode(),
        held.request,
    )
    return _text(body + _mac(body)).rstrip("=")


def decode(text: str) -> Reservation | None:
    """Return what the id says, or None when we did not sign it."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    body, mac = raw[:-_MAC], raw[-_MAC:]
    if len(body) != _FIELDS.size or not hmac.compare_digest(_mac(body), mac):
        return None
    (
        _,
        moment,
        project,
        group,
        person,
        draws_on,
        price,
        amount,
        tokens,
        credential,
        gateway,
        request,
    ) = _FIELDS.unpack(body)
    return Reservation(
        moment,
        project,
        group,
        person,
        draws_on,
        price,
        amount,
        tokens,
        credential.decode(),
        gateway.decode(),
        request,
    )

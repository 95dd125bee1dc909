"""Reservation ids: signed and self-describing, so that usage can be attributed and priced from one alone.

The id is 117 bytes of fields – ten numbers of them as the function in Valkey reports them – and 16 bytes of BLAKE2b
under a key derived from the secret key, in base64url.
"""

import base64
import hashlib
import hmac
import struct
from binascii import b2a_base64
from functools import cache
from typing import NamedTuple

from django.conf import settings

# Moment, group, project, person, draws on, price, amount hi and lo, tokens hi and lo: whole numbers as doubles.
_NUMBERS = struct.Struct("<10d")
_FIELDS = struct.Struct("<B80s12s12s12s")
_VERSION = b"\x02"
_BASE = 10**9
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


@cache
def _keyed() -> hashlib.blake2b:
    key = hashlib.sha256(b"portal.decision.reservation:" + settings.SECRET_KEY.encode()).digest()
    return hashlib.blake2b(digest_size=_MAC, key=key)


def _mac(body: bytes) -> bytes:
    # Keyed BLAKE2b is a MAC by itself (RFC 7693).
    mac = _keyed().copy()
    mac.update(body)
    return mac.digest()


def encode_reported(head: bytes, credential: str, gateway: str, request: bytes) -> str:
    """Return the id made of what the function reports – its second number is the expiry – and of who calls."""
    body = b"".join((_VERSION, head[:8], head[16:], credential.encode(), gateway.encode(), request))
    return _text(body + _mac(body)).rstrip("=")


def encode(held: Reservation) -> str:
    """Return the id."""
    numbers = _NUMBERS.pack(
        held.moment,
        held.group,
        held.project,
        held.person,
        held.draws_on,
        held.price,
        *divmod(held.amount, _BASE),
        *divmod(held.tokens, _BASE),
    )
    head = numbers[:8] + bytes(8) + numbers[8:]
    return encode_reported(head, held.credential, held.gateway, held.request)


def decode(text: str) -> Reservation | None:
    """Return what the id says, or None when we did not sign it."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    body, mac = raw[:-_MAC], raw[-_MAC:]
    if len(body) != _FIELDS.size or not hmac.compare_digest(_mac(body), mac):
        return None
    _, packed, credential, gateway, request = _FIELDS.unpack(body)
    numbers = map(int, _NUMBERS.unpack(packed))
    moment, group, project, person, draws, price, amount, amount_lo, tokens, tokens_lo = numbers
    return Reservation(
        moment,
        project,
        group,
        person,
        draws,
        price,
        amount * _BASE + amount_lo,
        tokens * _BASE + tokens_lo,
        credential.decode(),
        gateway.decode(),
        request,
    )

"""UUID version 7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, then random bits; sorts by time.

The bits make it unique, not secret: Python's generator, seeded by the system anew in every process, does that.
"""

import time
import uuid
from random import getrandbits

_RANDOM = ~((0xF << 76) | (0x3 << 62))
_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)


def uuid7() -> uuid.UUID:
    """Return a new UUIDv7."""
    return uuid.UUID(bytes=uuid7_bytes())


def uuid7_bytes() -> bytes:
    """Return the 16 bytes of a new UUIDv7."""
    return _bytes(time.time_ns() // 1_000_000, getrandbits(80))


def uuid7_of(milliseconds: int, random: bytes) -> uuid.UUID:
    """Return the UUIDv7 of a moment and ten bytes."""
    return uuid.UUID(bytes=_bytes(milliseconds, int.from_bytes(random, "big")))


def _bytes(milliseconds: int, bits: int) -> bytes:
    value = bits | (milliseconds << 80)
    return ((value & _RANDOM) | _VERSION_AND_VARIANT).to_bytes(16, "big")

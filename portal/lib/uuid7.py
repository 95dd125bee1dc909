"""UUID version 7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, then random bits; sorts by time."""

import os
import time
import uuid


def uuid7() -> uuid.UUID:
    """Return a new UUIDv7."""
    value = int.from_bytes(os.urandom(16), "big")
    value = (value & ((1 << 80) - 1)) | ((time.time_ns() // 1_000_000) << 80)
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)

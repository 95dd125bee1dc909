"""A secret as a caller presents it, with its HMACs under the live peppers: what a look-up compares.

Gateways present the same secrets again and again, so what was computed is kept – by a keyed fingerprint: the secret
itself is kept nowhere.
"""

import hashlib
import os
from dataclasses import dataclass

from portal.credentials import digests
from portal.lib import secrets

_MOST = 10_000
_FINGERPRINT = hashlib.blake2b(digest_size=32, key=os.urandom(32))


@dataclass(frozen=True, slots=True)
class Presented:
    """Kind and id, the numbers of the live peppers, and the HMAC under each in hexadecimal, one after the other."""

    kind: str
    key_id: str
    peppers: str
    digests: str


_known: dict[bytes, Presented] = {}


def presented(secret: str) -> Presented | None:
    """Return the secret as a look-up takes it, or None for what cannot be one. Looks nothing up."""
    fingerprint = _FINGERPRINT.copy()
    fingerprint.update(secret.encode("utf-8", "surrogatepass"))
    print_ = fingerprint.digest()
    known = _known.get(print_)
    if known is None:
        parsed = secrets.parse(secret)
        if parsed is None:
            return None
        found = digests.digests(secret)
        known = Presented(
            parsed.kind,
            parsed.key_id,
            ",".join(map(str, found)),
            "".join(value.hex() for value in found.values()),
        )
        if len(_known) >= _MOST:
            _known.clear()
        _known[print_] = known
    return known

"""A secret as a caller presents it, with its HMACs under the live peppers: what a look-up compares.

Gateways present the same secrets again and again, so what was computed is kept – by a keyed fingerprint: the secret
itself is kept nowhere.
"""

import hashlib
import os
from dataclasses import dataclass

from django.conf import settings

from portal.credentials import digests
from portal.lib import secrets

_MOST = 10_000
_KEY = os.urandom(32)


@dataclass(frozen=True, slots=True)
class Presented:
    """Kind and id, the numbers of the live peppers, and the HMAC under each in hexadecimal, one after the other."""

    kind: str
    key_id: str
    peppers: str
    digests: str


_known: dict[bytes, Presented] = {}
_peppers: object = None


def presented(secret: str) -> Presented | None:
    """Return the secret as a look-up takes it, or None for what cannot be one. Looks nothing up."""
    global _peppers
    if settings.PEPPERS is not _peppers:
        _known.clear()
        _peppers = settings.PEPPERS
    print_ = hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=32, key=_KEY).digest()
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

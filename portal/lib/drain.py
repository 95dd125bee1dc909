"""Whether this web process is about to end: a file that its server makes says so to all of its workers."""

import os
import time

FILE = "PORTAL_DRAIN_FILE"
_EVERY = 0.1  # seconds between two looks
_looked = 0.0
_found = False


def is_draining() -> bool:
    """Whether no new requests should come here any more; those that do are served all the same."""
    global _looked, _found
    now = time.monotonic()
    if not _found and now - _looked >= _EVERY:
        _looked = now
        path = os.environ.get(FILE)
        _found = path is not None and os.path.exists(path)
    return _found

"""When the minute's check last ran: what no table says, because a check that finds nothing writes nothing."""

import time
from datetime import UTC, datetime

from portal.decision import valkey

_KEY = "checked"


def note_check() -> None:
    """Note that a check has just ended."""
    valkey.command("SET", _KEY, int(time.time()))


def last_check() -> datetime | None:
    """Return when a check last ended; None when none has since Valkey lost its data. Raise Unavailable without it."""
    value = valkey.command("GET", _KEY)
    return datetime.fromtimestamp(int(value), UTC) if value else None

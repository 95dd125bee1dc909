"""Numbers and moments as a page shows them. Pure functions: text in English, no markup.

The rules are the design language's: money and counts are rounded at display only, a percentage below 100 never
shows as 100, model tokens are short (``388 M``), and time is relative for a day, then a date. A zone with a history
(portal.lib.windows) is shown by its current name.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from portal.lib.money import half_even
from portal.lib.windows import current_name

UNKNOWN = "–"
_STEPS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def count(value: int | None) -> str:
    """Return a whole number with thousands separated: ``486,210``, ``−1,403``."""
    return UNKNOWN if value is None else f"{value:,}".replace("-", "−")


def short(value: int | None) -> str:
    """Return a large count in three digits, the rest cut off: ``388 M``, ``1.24 B``, ``24 k``; it does not wrap."""
    if value is None:
        return UNKNOWN
    for size, unit in _STEPS:
        if value >= size:
            hundredths = value * 100 // size
            whole, part = divmod(hundredths, 100)
            digits = 2 if whole < 10 else 1 if whole < 100 else 0
            text = f"{whole}.{part:02d}"[: len(str(whole)) + 1 + digits]
            return f"{text.rstrip('0').rstrip('.') if '.' in text else text}\N{NO-BREAK SPACE}{unit}"
    return str(value)


def percent(part: int, whole: int | None) -> str:
    """Return the share without decimals, never rounded up to 80 or 100, where a status begins, nor down to 0."""
    if not whole:
        return UNKNOWN
    if part <= 0:
        return "0%"
    rounded = half_even(part * 100, whole)
    if rounded in (80, 100) and part * 100 < rounded * whole:
        rounded -= 1
    return f"{rounded}%" if rounded else "under 1%"


def share(part: int, whole: int | None) -> str:
    """Return the width of a bar: a percentage between 0 and 100 with at most two decimals."""
    if not whole or part <= 0:
        return "0%"
    hundredths = min(10000, part * 10000 // whole)
    return f"{hundredths // 100}.{hundredths % 100:02d}%".replace(".00%", "%")


def level(part: int, limit: int | None) -> str:
    """Return the status of an amount against its limit: ``bad`` at 100 %, ``warn`` from 80 %, else nothing."""
    if limit is None:
        return ""
    if part >= limit:
        return "bad"
    return "warn" if part * 10 >= limit * 8 else ""


def day(moment: datetime, zone: str, now: datetime | None = None) -> str:
    """Return the local day: ``21 Nov``, with the year when it is another one."""
    local, today = _local(moment, zone), _local(now or datetime.now(UTC), zone)
    return f"{local.day} {local:%b}" if local.year == today.year else f"{local.day} {local:%b %Y}"


def when(moment: datetime, zone: str, now: datetime | None = None) -> str:
    """Return the local day and minute: ``21 Nov, 16:08``."""
    return f"{day(moment, zone, now)}, {_local(moment, zone):%H:%M}"


def clock(moment: datetime, zone: str, *, seconds: bool = False) -> str:
    """Return the local time of day: ``11:42``, or ``11:42:08``."""
    return f"{_local(moment, zone):{'%H:%M:%S' if seconds else '%H:%M'}}"


def exact(moment: datetime, zone: str) -> str:
    """Return the full local moment with seconds and the name of the zone: ``24 November 2026, 11:38:52 UTC``."""
    local = _local(moment, zone)
    return f"{local.day} {local:%B %Y, %H:%M:%S} {current_name(zone)}"


def ago(moment: datetime, zone: str, now: datetime | None = None) -> str:
    """Return how long ago it was, up to a day: ``14 s ago``; before that, and in the future, day and minute."""
    now = now or datetime.now(UTC)
    seconds = int((now - moment).total_seconds())
    if seconds < 0 or seconds >= 86400:
        return when(moment, zone, now)
    if seconds < 5:
        return "just now"
    if seconds < 60:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 3600 else f"{seconds // 3600} h ago"


def _local(moment: datetime, zone: str) -> datetime:
    return moment.astimezone(ZoneInfo(current_name(zone)))

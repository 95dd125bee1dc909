"""Calendar windows: half-open UTC intervals computed from the clock and a time zone.

A day starts at the local midnight with ``fold=0``; weeks are ISO weeks (Monday). So windows tile time in every
IANA zone: a day may last 21 to 27 hours, and none overlaps another.

Wherever a zone is asked for, ``zone`` is an IANA name, or a history of names, newest first, with the instants (in
seconds since 1970) since which they hold: ``Asia/Tokyo;1764028800;UTC``. `changed_zone` makes one, so that the day
that is under way when the zone changes runs on, and no instant is in two days or in none.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

CALENDAR = ("day", "week", "month")
# How long a zone that no longer holds is remembered: the months of all usage that may still be booked.
_REMEMBERED = 100 * 86400


@dataclass(frozen=True, slots=True)
class Window:
    """One calendar period: ``start`` and ``end`` in whole seconds since 1970 (UTC), and its first local day."""

    kind: str
    start: int
    end: int
    first: date


def _midnight(day: date, name: str) -> int:
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(name), fold=0)
    return int(local.timestamp())


def _day(moment: float, name: str) -> date:
    day = datetime.fromtimestamp(moment, ZoneInfo(name)).date()
    # Around a skipped or repeated midnight the wall clock and the tiling can differ by one day.
    while moment < _midnight(day, name):
        day -= timedelta(days=1)
    while moment >= _midnight(day + timedelta(days=1), name):
        day += timedelta(days=1)
    return day


@lru_cache(maxsize=64)
def _newest(zone: str) -> tuple[str, int, date, str]:
    """Return the newest name, since when it holds, the local day that begins there, and the history before it."""
    name, since, before = zone.split(";", 2)
    return name, int(since), _day(int(since), name), before


def current_name(zone: str) -> str:
    """Return the name that holds now or from the next day on."""
    return zone.partition(";")[0]


def changed_zone(zone: str, name: str, now: float) -> str:
    """Return the history in which the zone becomes ``name`` at the end of the day that is under way.

    It takes effect at the first instant at which that day is over in both zones.
    """
    while ";" in zone and _newest(zone)[1] > now:
        before = _newest(zone)[3]
        if local_day(now, before) != local_day(now, zone):
            break  # the day that is under way is the longer one before that change
        zone = before  # a change that has not begun is replaced
    if current_name(zone) == name:
        return zone
    tomorrow = local_day(now, zone) + timedelta(days=1)
    since = max(midnight(tomorrow, zone), _midnight(tomorrow, name))
    return f"{name};{since};{_since(zone, now - _REMEMBERED)}"


def _since(zone: str, moment: float) -> str:
    """Return the history without what ended before the moment."""
    if ";" not in zone:
        return zone
    name, since, _, before = _newest(zone)
    return f"{name};{since};{_since(before, moment)}" if since > moment else name


def midnight(day: date, zone: str) -> int:
    """Return the instant, in seconds since 1970, at which the local day begins."""
    if ";" not in zone:
        return _midnight(day, zone)
    name, since, first, before = _newest(zone)
    if day > first:
        return _midnight(day, name)
    return since if day == first else min(since, midnight(day, before))


def first_day(kind: str, day: date) -> date:
    """Return the first local day of the window that holds the day."""
    if kind == "day":
        return day
    if kind == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1)


def next_day(kind: str, first: date) -> date:
    """Return the first local day of the window that follows the one beginning on ``first``."""
    if kind == "day":
        return first + timedelta(days=1)
    if kind == "week":
        return first + timedelta(days=7)
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1)


@lru_cache(maxsize=4096)
def _window(kind: str, first: date, zone: str) -> Window:
    return Window(kind, midnight(first, zone), midnight(next_day(kind, first), zone), first)


def local_day(moment: float, zone: str) -> date:
    """Return the local day whose window holds the moment (seconds since 1970)."""
    if ";" not in zone:
        return _day(moment, zone)
    name, since, first, before = _newest(zone)
    if moment >= since:
        return _day(moment, name)
    return min(local_day(moment, before), first - timedelta(days=1))


def window_at(kind: str, moment: float, zone: str) -> Window:
    """Return the day, week or month that holds the moment."""
    return _window(kind, first_day(kind, local_day(moment, zone)), zone)


def windows_at(moment: float, zone: str) -> tuple[Window, Window, Window]:
    """Return the day, the week and the month that hold the moment."""
    day = local_day(moment, zone)
    return (
        _window("day", day, zone),
        _window("week", first_day("week", day), zone),
        _window("month", first_day("month", day), zone),
    )


def to_datetime(seconds: float) -> datetime:
    """Return the instant as an aware datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def rfc3339(seconds: float) -> str:
    """Return the instant as RFC 3339 in UTC, to the second."""
    return _rfc3339(math.floor(seconds)) if isinstance(seconds, float) else _rfc3339(seconds)


@lru_cache(maxsize=1024)
def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

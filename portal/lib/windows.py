"""Calendar windows: half-open UTC intervals computed from the clock and a time zone.

A day starts at the local midnight with ``fold=0``; weeks are ISO weeks (Monday). So windows tile time in every
IANA zone: a day may last 21 to 27 hours, and none overlaps another.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

CALENDAR = ("day", "week", "month")


@dataclass(frozen=True, slots=True)
class Window:
    """One calendar period: ``start`` and ``end`` in whole seconds since 1970 (UTC), and its first local day."""

    kind: str
    start: int
    end: int
    first: date


def midnight(day: date, zone: str) -> int:
    """Return the instant, in seconds since 1970, at which the local day begins."""
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone), fold=0)
    return int(local.timestamp())


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
    day = datetime.fromtimestamp(moment, ZoneInfo(zone)).date()
    # Around a skipped or repeated midnight the wall clock and the tiling can differ by one day.
    while moment < midnight(day, zone):
        day -= timedelta(days=1)
    while moment >= midnight(day + timedelta(days=1), zone):
        day += timedelta(days=1)
    return day


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
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

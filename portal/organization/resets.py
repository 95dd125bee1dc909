"""When the next days begin in a time zone, and what begins with them: pure, for the preview of a change."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from portal.lib import windows

# Names kept for old programs; each has a place name that says the same.
_LEGACY = ("Brazil/", "Canada/", "Chile/", "Etc/", "Mexico/", "SystemV/", "US/", "posix/", "right/")


@dataclass(frozen=True, slots=True)
class Reset:
    """One midnight: the instant, how clocks show it there and in UTC, what begins, and how long the day lasts."""

    begins: datetime
    text: str
    utc: str
    day: date
    windows: tuple[str, ...]
    minutes: int

    @property
    def length(self) -> str:
        """How long the day lasts, in words: ``25 h``."""
        hours, minutes = divmod(self.minutes, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"

    @property
    def is_unusual(self) -> bool:
        """Whether the day does not have 24 hours."""
        return self.minutes != 24 * 60


def zone_names() -> list[str]:
    """Return the names to choose from: UTC, and the places."""
    places = (name for name in available_timezones() if "/" in name and not name.startswith(_LEGACY))
    return ["UTC", *sorted(places)]


def next_resets(zone: str, name: str, now: float, number: int = 6) -> list[Reset]:
    """Return the next midnights when the zone or history `zone` becomes `name` at the moment `now`.

    The first is the end of the day that is under way, which ends as it began.
    """
    history = windows.changed_zone(zone, name, now)
    first = windows.local_day(now, history) + timedelta(days=1)
    return [_reset(history, name, first + timedelta(days=index)) for index in range(number)]


def _reset(history: str, name: str, day: date) -> Reset:
    begins, ends = (windows.midnight(each, history) for each in (day, day + timedelta(days=1)))
    kinds = [kind for kind in windows.CALENDAR if windows.first_day(kind, day) == day]
    instant = windows.to_datetime(begins)
    local = instant.astimezone(ZoneInfo(name))
    return Reset(instant, _clock(local), _clock(instant), day, tuple(kinds), (ends - begins) // 60)


def _clock(moment: datetime) -> str:
    return f"{moment:%a} {moment.day} {moment:%b, %H:%M}"

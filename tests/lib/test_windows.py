"""Windows tile time: no gap, no overlap, in every zone, also when the zone changes."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.lib import windows

# Days of an odd length, skipped days, half-hour steps, midnights that are skipped or happen twice.
ODD = (
    "Africa/Cairo", "America/Havana", "America/Sao_Paulo", "America/St_Johns", "Antarctica/Troll", "Asia/Beirut",
    "Asia/Kathmandu", "Asia/Shanghai", "Asia/Tehran", "Australia/Lord_Howe", "Europe/Berlin", "Pacific/Apia",
    "Pacific/Kiritimati", "Pacific/Kwajalein", "UTC",
)  # fmt: skip
ZONES = sorted(set(ODD) | set(Random(7).sample(sorted(available_timezones() - {"localtime"}), 60)))
MOMENTS = st.integers(1_451_606_400, 2_082_758_400)  # 2016 to 2035


@pytest.mark.slow
def test_every_day_of_twenty_one_years_tiles_time_in_every_zone() -> None:
    first, count = date(2016, 1, 1), (date(2037, 1, 1) - date(2016, 1, 1)).days
    days = [first + timedelta(days=number) for number in range(count + 1)]
    for zone in sorted(available_timezones() - {"localtime"}):
        edges = [windows.midnight(day, zone) for day in days]
        for number, (start, end) in enumerate(pairwise(edges)):
            if end - start == 86400:
                continue  # as almost every day; where it is not, the days around it are looked at too
            assert end == start or 20 * 3600 <= end - start <= 27 * 3600, (zone, days[number])
            for near in range(max(0, number - 1), min(count, number + 2)):
                opens, closes = edges[near], edges[near + 1]
                for moment in (opens, (opens + closes) // 2, closes - 1) if closes > opens else ():
                    assert windows.local_day(moment, zone) == days[near], (zone, moment)


@pytest.mark.parametrize("zone", ODD)
def test_each_day_holds_its_own_instants(zone: str) -> None:
    edges = [windows.midnight(date(2009, 1, 1) + timedelta(days=number), zone) for number in range(1500)]
    for number, (start, end) in enumerate(pairwise(edges)):
        day = date(2009, 1, 1) + timedelta(days=number)
        for moment in (start, (start + end) // 2, end - 1) if end > start else ():
            assert windows.local_day(moment, zone) == day


@given(MOMENTS, st.sampled_from(ZONES))
def test_every_instant_is_in_one_day_one_week_and_one_month(moment: int, zone: str) -> None:
    for window in windows.windows_at(moment, zone):
        assert window.start <= moment < window.end
        assert windows.window_at(window.kind, window.start, zone).start == window.start
        assert windows.window_at(window.kind, window.end, zone).start == window.end
    day, week, month = windows.windows_at(moment, zone)
    assert week.first.weekday() == 0
    assert month.first.day == 1
    assert day.first in (
        local := datetime.fromtimestamp(moment, ZoneInfo(zone)).date(),
        local - timedelta(days=1),
    )


def test_days_can_be_short_and_long() -> None:
    def hours(day: date, zone: str) -> float:
        return (windows.midnight(day + timedelta(days=1), zone) - windows.midnight(day, zone)) / 3600

    assert hours(date(2026, 3, 29), "Europe/Berlin") == 23
    assert hours(date(2026, 10, 25), "Europe/Berlin") == 25
    assert hours(date(2026, 4, 5), "Australia/Lord_Howe") == 24.5
    assert hours(date(2026, 3, 29), "Antarctica/Troll") == 22
    assert hours(date(2011, 12, 30), "Pacific/Apia") == 0  # the day that never was


def test_a_day_in_shanghai_ends_at_its_own_midnight() -> None:
    moment = datetime(2026, 11, 24, 15, 59, 59, tzinfo=UTC).timestamp()
    assert windows.window_at("day", moment, "Asia/Shanghai").end == moment + 1
    assert windows.window_at("day", moment + 1, "Asia/Shanghai").first == date(2026, 11, 25)


@given(
    MOMENTS, st.lists(st.tuples(st.sampled_from(ZONES), st.integers(0, 5 * 86400)), min_size=1, max_size=4)
)
def test_changes_of_the_zone_leave_no_gap_and_no_overlap(moment: int, changes: list[tuple[str, int]]) -> None:
    zone, now = "UTC", moment
    for name, wait in changes:
        now += wait
        before = windows.windows_at(now, zone)
        zone = windows.changed_zone(zone, name, now)
        assert windows.current_name(zone) == name
        # What is under way goes on from where it began.
        assert [window.start for window in windows.windows_at(now, zone)] == [
            window.start for window in before
        ]
    days = [windows.local_day(moment, zone) + timedelta(days=number) for number in range(-3, 40)]
    edges = [windows.midnight(day, zone) for day in days]
    assert edges == sorted(edges)
    assert all(end - start <= 52 * 3600 for start, end in pairwise(edges))
    for day, (start, end) in zip(days, pairwise(edges), strict=False):
        for inside in (start, (start + end) // 2, end - 1) if end > start else ():
            assert windows.local_day(inside, zone) == day
            for window in windows.windows_at(inside, zone):
                assert window.start <= inside < window.end


def test_a_zone_that_is_changed_back_before_it_holds_leaves_no_trace() -> None:
    zone = windows.changed_zone("UTC", "Asia/Tokyo", 1_795_500_000)
    assert windows.changed_zone(zone, "UTC", 1_795_500_060) == "UTC"


def test_history_is_forgotten_after_a_hundred_days() -> None:
    zone = windows.changed_zone("UTC", "Asia/Tokyo", 1_795_500_000)
    zone = windows.changed_zone(zone, "Europe/Paris", 1_795_500_000 + 200 * 86400)
    assert zone.count(";") == 2
    assert zone.endswith(";Asia/Tokyo")

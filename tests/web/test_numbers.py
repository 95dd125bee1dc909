"""Numbers and moments, as the design language writes them."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portal.web import numbers

NOW = datetime(2026, 11, 24, 11, 42, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (24_000, "24 k"),
        (41_200_000, "41.2 M"),
        (388_123_456, "388 M"),
        (999_999_999, "999 M"),
        (1_240_000_000, "1.24 B"),
        (5 * 10**15, "5000 T"),
    ],
)
def test_model_tokens_are_short(value: int | None, text: str) -> None:
    assert numbers.short(value) == text.replace(" ", "\N{NO-BREAK SPACE}")


@given(st.integers(1000, 10**14))
@example(4030)  # 4.03 · 1000 is more than 4030 in floating point
def test_a_short_count_never_exceeds_the_count(value: int) -> None:
    figure, unit = numbers.short(value).split()
    size = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}[unit]
    cut_off = value - Fraction(figure) * size
    assert 0 <= cut_off < Fraction(max(size, value), 100)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 100, "0%"),
        (1, 1000, "under 1%"),
        (869, 1000, "87%"),
        (7999, 10000, "79%"),
        (8000, 10000, "80%"),
        (9999, 10000, "99%"),
        (10000, 10000, "100%"),
        (10490, 10000, "105%"),
        (5, None, "–"),
        (5, 0, "–"),
    ],
)
def test_a_percentage_reaches_80_and_100_only_when_the_amount_does(
    part: int, whole: int | None, text: str
) -> None:
    assert numbers.percent(part, whole) == text


@given(st.integers(0, 10**15), st.integers(1, 10**15))
def test_a_percentage_and_its_status_agree(part: int, whole: int) -> None:
    text = numbers.percent(part, whole)
    shown = 0 if text == "under 1%" else int(text.removesuffix("%"))
    status = numbers.level(part, whole)
    assert status == ("bad" if shown >= 100 else "warn" if shown >= 80 else "")


@given(st.integers(-5, 10**18), st.integers(0, 10**18))
def test_a_bar_stays_inside_its_track(part: int, whole: int) -> None:
    assert 0 <= float(numbers.share(part, whole).removesuffix("%")) <= 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (14, "14 s ago"),
        (125, "2 min ago"),
        (3 * 3600, "3 h ago"),
        (86_400, "23 Nov, 11:42"),
        (400 * 86_400, "20 Oct 2025, 11:42"),
        (-60, "24 Nov, 11:43"),
    ],
)
def test_time_is_relative_for_a_day(seconds: int, text: str) -> None:
    assert numbers.ago(NOW - timedelta(seconds=seconds), "UTC", NOW) == text


def test_a_moment_is_shown_in_the_zone_of_the_organization() -> None:
    assert numbers.exact(NOW, "Asia/Tokyo") == "24 November 2026, 20:42:08 Asia/Tokyo"
    assert numbers.day(datetime(2026, 12, 31, 23, 30, tzinfo=UTC), "Europe/Berlin", NOW) == "1 Jan 2027"

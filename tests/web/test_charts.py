"""Charts: valid markup, inside the frame, without styles, told in words and as a table."""

from datetime import date
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from portal.lib.money import NANO
from portal.web.charts import Chart, Minute, Outlook, daily_chart, month_chart, requests_chart

AMOUNTS = st.integers(0, 10**16)
FIRST = date(2026, 11, 1)
HOSTILE = '<script>"&'


def check(chart: Chart) -> ET.Element:
    svg = ET.fromstring(chart.svg)  # noqa: S314  our own output
    assert svg.get("role") == "img"
    title, text = (svg.get("aria-labelledby") or "").split()
    assert svg[0].get("id") == title
    assert svg[1].get("id") == text
    assert svg[1].text
    for element in svg.iter():
        assert "style" not in element.attrib
        for name in ("x", "y", "y1", "y2", "width", "height", "cx", "cy"):
            value = element.get(name, "")
            if value.endswith("%"):
                assert -0.05 <= float(value[:-1]) <= 100.05, (name, value)
    for row in chart.rows:
        assert len(row[1]) == len(chart.heads) - 1
    return svg


@settings(deadline=None)
@given(
    spent=st.lists(AMOUNTS, max_size=30),
    part=st.floats(0, 1),
    limit=st.none() | st.integers(1, 10**17),
    ahead=st.booleans(),
)
def test_a_month_is_drawn_whatever_was_spent(
    spent: list[int], part: float, limit: int | None, ahead: bool
) -> None:
    outlook = None
    if ahead and spent:
        expected = [sum(spent) + n * NANO for n in range(31 - len(spent))]
        outlook = Outlook(expected, expected, [value * 2 for value in expected])
    chart = month_chart(
        "burn", HOSTILE, first=FIRST, spent=spent, today_part=part, outlook=outlook, limit=limit
    )
    check(chart)
    assert len(chart.rows) == len(spent)
    assert "<script" not in chart.svg


@settings(deadline=None)
@given(spent=st.lists(AMOUNTS, max_size=95), limit=st.none() | st.integers(1, 10**17))
def test_days_are_drawn_whatever_was_spent(spent: list[int], limit: int | None) -> None:
    svg = check(daily_chart("daily", "Daily spend", first=FIRST, spent=spent, length=30, limit=limit))
    assert len(svg.findall("rect[@class='col']")) == sum(1 for amount in spent if amount)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 10**9)] * 3), max_size=60))
def test_minutes_are_drawn_whatever_came(counts: list[tuple[int, int, int]]) -> None:
    minutes = [Minute(f"10:{n:02d}", *count) for n, count in enumerate(counts)]
    check(requests_chart("rpm", "Requests", minutes))


def test_a_chart_is_told_in_words_and_numbers() -> None:
    outlook = Outlook([150 * NANO] * 29, [140 * NANO] * 29, [160 * NANO] * 29)
    chart = month_chart(
        "burn",
        "Spend",
        first=FIRST,
        spent=[60 * NANO, 41_500_000_000],
        outlook=outlook,
        limit=55_000 * NANO,
        currency="EUR",
    )
    svg = check(chart)
    assert svg[1].text == (
        "€101.50 by 2 Nov. The forecast for the end of the month is €150. The limit is €55,000."
    )
    assert chart.rows[1] == ("2 Nov", ["€41.50", "€101.50"])
    assert [t.text for t in svg.findall("text") if t.get("x") == "-8"][:3] == ["€0", "€20k", "€40k"]


@given(st.integers(1, 10**18))
def test_there_are_three_to_five_gridlines_above_zero(peak: int) -> None:
    from portal.web.charts import _scale

    scale = _scale(peak, least=4)
    assert scale.top >= peak
    assert scale.top % scale.step == 0
    assert 2 <= scale.top // scale.step <= 5

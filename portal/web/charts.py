"""Charts as SVG from the server: no script, no style attributes, percent coordinates, a table beside each.

The outer SVG has no viewBox: x and y are percentages, so texts and dots keep their size at any width. Lines live in
one inner SVG that may stretch. Amounts are nano-units; positions are rounded to a hundredth of a percent.
"""

import calendar
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from xml.etree import ElementTree as ET

from django.utils.safestring import SafeString

from portal.lib.money import NANO, format_money
from portal.web import numbers

_STEPS = (10, 20, 25, 50, 100)


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and the same figures as a table: `rows` are (first cell, other cells)."""

    title: str
    svg: SafeString
    heads: list[str]
    rows: list[tuple[str, list[str]]]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the month comes to at the end of today and of each later day, cumulative, with a likely range."""

    expected: Sequence[int]
    low: Sequence[int]
    high: Sequence[int]


@dataclass(frozen=True, slots=True)
class Minute:
    """The requests of one minute; `label` is its local time."""

    label: str
    served: int
    refused: int
    failed: int


@dataclass(frozen=True, slots=True)
class _Scale:
    top: int
    step: int

    def y(self, value: int) -> float:
        return round(100 - value * 100 / self.top, 2)


def month_chart(
    name: str,
    title: str,
    *,
    first: date,
    spent: Sequence[int],
    today_part: float = 1.0,
    outlook: Outlook | None = None,
    limit: int | None = None,
    currency: str = "USD",
) -> Chart:
    """Draw the spend of a month as it adds up, the forecast with its band, and the limit.

    `spent` holds one amount for each day from `first`, the last one of today, of which `today_part` has passed.
    """
    length = calendar.monthrange(first.year, first.month)[1]
    total = _running(spent)
    peak = max([*total, limit or 0, *(outlook.high if outlook else ())], default=0)
    scale = _scale(peak + peak // 12, least=NANO // 25)
    x = round(max(len(spent) - 1 + today_part, 0), 2) if spent else 0.0
    now = total[-1] if total else 0
    points = [(0.0, 0), *((float(day), value) for day, value in enumerate(total[:-1], 1)), (x, now)]
    text = f"{_money(now, currency)} by {_day(first, len(spent) - 1)}." if spent else "Nothing was spent."
    if outlook and outlook.expected:
        text += f" The forecast for the end of the month is {_round(outlook.expected[-1], currency)}."
    if limit:
        text += f" The limit is {_round(limit, currency)}."
    svg = _frame(name, title, text, 330)
    _grid(svg, scale, lambda value: _axis_money(value, currency))
    inner = _add(
        svg, "svg", width="100%", height="100%", viewBox=f"0 0 {length} 100", preserveAspectRatio="none"
    )
    line = _path(points, scale)
    _add(inner, "path", css="area", d=f"{line} L{x:g} 100 L0 100 Z")
    if outlook and outlook.expected:
        days = [x, *(float(len(spent) + later) for later in range(len(outlook.expected)))]
        high = list(zip(days, [now, *outlook.high], strict=True))
        low = list(zip(days, [now, *outlook.low], strict=True))
        _add(inner, "path", css="band", d=_path([*high, *reversed(low)], scale) + " Z")
        _add(inner, "path", css="line", d=line)
        _add(inner, "path", css="fc", d=_path(list(zip(days, [now, *outlook.expected], strict=True)), scale))
    else:
        _add(inner, "path", css="line", d=line)
    at = round(x * 100 / length, 2)
    _add(svg, "line", css="now", x1=f"{at}%", x2=f"{at}%", y1=f"{scale.y(now)}%", y2="100%")
    _add(svg, "circle", css="dot", cx=f"{at}%", cy=f"{scale.y(now)}%", r="4")
    line_y = scale.y(limit) if limit else None
    if limit:
        _limit(svg, scale, limit, f"Limit {_round(limit, currency)}", at_end=False)
    is_low = at < 22 or (line_y is not None and abs(scale.y(now) - line_y) < 9)
    _add(
        svg,
        "text",
        _round(now, currency),
        css="strong minor",
        x=f"{at}%",
        y=f"{scale.y(now)}%",
        dx="10" if is_low else "-10",
        dy="18" if is_low and now else "-10",
        text_anchor="start" if is_low else "end",
    )
    if outlook and outlook.expected:
        # Above its end and above a limit close by, where a curve that only rises leaves room.
        y = scale.y(outlook.high[-1])
        y = min(y, line_y) if line_y is not None and -3 < y - line_y < 9 else y
        words = f"Forecast {_round(outlook.expected[-1], currency)}"
        _add(svg, "text", words, css="strong minor", x="100%", y=f"{y}%", dy="-7", text_anchor="end")
    _days(svg, first, length)
    for index, (amount, sofar) in enumerate(zip(spent, total, strict=True)):
        words = f"{_day(first, index)}: {_money(amount, currency)}. Month to date {_money(sofar, currency)}"
        _hit(svg, index, length, words)
    rows = [
        (_day(first, index), [_money(amount, currency), _money(sofar, currency)])
        for index, (amount, sofar) in enumerate(zip(spent, total, strict=True))
    ]
    return Chart(title, _text(svg), ["Day", "Spend", "Month to date"], rows)


def daily_chart(
    name: str,
    title: str,
    *,
    first: date,
    spent: Sequence[int],
    length: int = 0,
    limit: int | None = None,
    currency: str = "USD",
) -> Chart:
    """Draw one bar for each day from `first` and the daily limit; `length` leaves room for days to come."""
    length = max(length, len(spent), 1)
    peak = max([*spent, limit or 0])
    scale = _scale(peak + peak // 12, least=NANO // 25)
    text = f"The highest day is {_money(max(spent, default=0), currency)}."
    if limit:
        text += f" The daily limit is {_round(limit, currency)}."
    svg = _frame(name, title, text, 150)
    _grid(svg, scale, lambda value: _axis_money(value, currency))
    for index, amount in enumerate(spent):
        _column(svg, index, length, scale, 0, amount, "col")
        _hit(svg, index, length, f"{_day(first, index)}: {_money(amount, currency)}")
    if limit:
        _limit(svg, scale, limit, f"Daily limit {_round(limit, currency)}", at_end=True)
    _days(svg, first, length)
    rows = [(_day(first, index), [_money(amount, currency)]) for index, amount in enumerate(spent)]
    return Chart(title, _text(svg), ["Day", "Spend"], rows)


def requests_chart(name: str, title: str, minutes: Sequence[Minute]) -> Chart:
    """Draw served, refused and failed requests of each minute as one stacked column."""
    peak = max((m.served + m.refused + m.failed for m in minutes), default=0)
    scale = _scale(peak, least=4)
    sums = [sum(m.served for m in minutes), sum(m.refused for m in minutes), sum(m.failed for m in minutes)]
    text = f"{sums[0]:,} served, {sums[1]:,} refused, {sums[2]:,} failed; at most {peak:,} in a minute."
    svg = _frame(name, title, text, 128)
    _grid(svg, scale, numbers.count)
    length = max(len(minutes), 1)
    for index, m in enumerate(minutes):
        base = 0
        for value, css in ((m.served, "col"), (m.refused, "col refused"), (m.failed, "col failed")):
            _column(svg, index, length, scale, base, value, css)
            base += value
        words = f"{m.label}: {m.served:,} served, {m.refused:,} refused, {m.failed:,} failed"
        _hit(svg, index, length, words)
    for index in range(length % 15 // 2, len(minutes), 15):
        x = round((index + 0.5) * 100 / length, 2)
        _add(svg, "text", minutes[index].label, x=f"{x}%", y="100%", dy="18", text_anchor="middle")
    rows = [(m.label, [f"{m.served:,}", f"{m.refused:,}", f"{m.failed:,}"]) for m in minutes]
    return Chart(title, _text(svg), ["Minute", "Served", "Refused", "Failed"], rows)


def _scale(peak: int, least: int) -> _Scale:
    """Choose 3 to 5 round steps from zero up to `peak`, or to `least` when there is less."""
    peak = max(peak, least)
    unit = 10 ** max(len(str(peak)) - 3, 0)
    for factor in (unit, unit * 10, unit * 100):
        for step in (size * factor // 10 for size in _STEPS):
            if step and step * 5 >= peak:
                return _Scale(-(-peak // step) * step, step)
    raise AssertionError("a power of ten above the peak always fits")


def _frame(name: str, title: str, text: str, height: int) -> ET.Element:
    svg = ET.Element(
        "svg", {"height": str(height), "role": "img", "aria-labelledby": f"{name}-title {name}-text"}
    )
    ET.SubElement(svg, "title", {"id": f"{name}-title"}).text = title
    ET.SubElement(svg, "desc", {"id": f"{name}-text"}).text = text
    return svg


def _add(parent: ET.Element, tag: str, text: str = "", css: str = "", **attributes: str) -> ET.Element:
    names = {key.replace("_", "-"): value for key, value in attributes.items()}
    child = ET.SubElement(parent, tag, {"class": css, **names} if css else names)
    child.text = text or None
    return child


def _text(svg: ET.Element) -> SafeString:
    # ElementTree has escaped every text and attribute.
    return SafeString(ET.tostring(svg, encoding="unicode", short_empty_elements=False))


def _grid(svg: ET.Element, scale: _Scale, label: Callable[[int], str]) -> None:
    for value in range(0, scale.top + 1, scale.step):
        y = f"{scale.y(value)}%"
        _add(svg, "text", label(value), x="-8", y=y, dy="4", text_anchor="end")
        _add(svg, "line", css="grid-line" if value else "axis", x1="0", x2="100%", y1=y, y2=y)


def _limit(svg: ET.Element, scale: _Scale, limit: int, label: str, *, at_end: bool) -> None:
    y = f"{scale.y(limit)}%"
    _add(svg, "line", css="limit", x1="0", x2="100%", y1=y, y2=y)
    x, anchor = ("100%", "end") if at_end else ("4", "start")
    _add(svg, "text", label, css="limit", x=x, y=y, dy="-6", text_anchor=anchor)


def _column(svg: ET.Element, index: int, length: int, scale: _Scale, base: int, value: int, css: str) -> None:
    if value <= 0:
        return
    width = 100 / length
    bottom, top = scale.y(base), scale.y(base + value)
    _add(
        svg,
        "rect",
        css=css,
        x=f"{index * width + width * 0.12:.2f}%",
        y=f"{top:g}%",
        width=f"{width * 0.76:.2f}%",
        height=f"{bottom - top:.2f}%",
    )


def _hit(svg: ET.Element, index: int, length: int, words: str) -> None:
    width = 100 / length
    rect = _add(svg, "rect", css="hit", x=f"{index * width:.2f}%", width=f"{width:.2f}%", height="100%")
    _add(rect, "title", words)


def _days(svg: ET.Element, first: date, length: int) -> None:
    step = 7 if length <= 45 else 30
    for index in range(0, length, step):
        x = round((index + 0.5) * 100 / length, 2)
        _add(svg, "text", _day(first, index), x=f"{x}%", y="100%", dy="18", text_anchor="middle")


def _path(points: Sequence[tuple[float, int]], scale: _Scale) -> str:
    return " ".join(f"{'L' if i else 'M'}{x:g} {scale.y(value):g}" for i, (x, value) in enumerate(points))


def _running(amounts: Sequence[int]) -> list[int]:
    total, sums = 0, []
    for amount in amounts:
        total += amount
        sums.append(total)
    return sums


def _day(first: date, index: int) -> str:
    day = first + timedelta(days=index)
    return f"{day.day} {day:%b}"


def _money(nano: int, currency: str) -> str:
    return format_money(nano, currency)


def _round(nano: int, currency: str) -> str:
    return format_money(nano, currency, 0 if nano >= 100 * NANO or nano % NANO == 0 else 2)


def _axis_money(nano: int, currency: str) -> str:
    """Return a round amount in short: ``$15k``, ``$2.5M``."""
    for size, unit in ((10**6 * NANO, "M"), (1000 * NANO, "k")):
        if nano >= size:
            tenths = nano * 10 // size
            digits = 1 if tenths % 10 else 0
            return format_money(tenths * NANO // 10, currency, digits) + unit
    return format_money(nano, currency, 2 if nano % NANO else 0)

"""Where a month ends if it goes on like the last four weeks: a plain, explainable estimate, in whole nano-units.

Each later day is expected to cost what the same weekday cost on average in the last 28 days; with less than two
weeks of history, what a day cost on average. The range grows with the square root of the days ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import isqrt

HISTORY = 28  # days before today that are looked at


@dataclass(frozen=True, slots=True)
class Forecast:
    """The spend of a month so far by day (the last is today), and what it comes to.

    ``expected``, ``low`` and ``high`` are cumulative, at the end of today and of each later day of the month.
    """

    first: date
    spent: tuple[int, ...]
    expected: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def month(self) -> int:
        """The spend of the month so far."""
        return sum(self.spent)

    @property
    def total(self) -> int:
        """What the month is expected to come to."""
        return self.expected[-1]

    def reaches(self, limit: int | None) -> date | None:
        """Return the day on which the month reaches a limit, today if it has; None when it lasts."""
        if limit is None:
            return None
        today = self.first + timedelta(days=len(self.spent) - 1)
        if self.month >= limit:
            return today
        for later, amount in enumerate(self.expected):
            if amount >= limit:
                return today + timedelta(days=later)
        return None


def forecast(days: Sequence[int], today: date, day_per_mille: int, days_left: int) -> Forecast:
    """Return the forecast of today's month; `days` ends with today and holds at least the days of the month so far.

    `day_per_mille` says how much of today has passed, `days_left` how many days of the month come after it.
    """
    so_far = list(days[-today.day :])
    past = list(days[:-1])[-HISTORY:]
    while past and not past[0]:
        past.pop(0)  # before the first use there is nothing to learn from
    mean = (
        sum(past) // len(past)
        if past
        else (days[-1] * 1000 // day_per_mille if day_per_mille >= 100 else days[-1])
    )
    rates = {}
    for ahead in range(7):
        weekday = (today + timedelta(days=ahead)).weekday()
        same = [
            amount
            for back, amount in enumerate(reversed(past), 1)
            if (weekday - today.weekday() + back) % 7 == 0
        ]
        rates[weekday] = sum(same) // len(same) if len(past) >= 14 and same else mean
    deviation = [
        abs(amount - rates[(today - timedelta(days=back)).weekday()])
        for back, amount in enumerate(reversed(past), 1)
    ]
    spread = sum(deviation) // len(deviation) if deviation else mean // 3
    now = sum(so_far)
    total = now + rates[today.weekday()] * (1000 - day_per_mille) // 1000
    expected, low, high = [], [], []
    for ahead in range(days_left + 1):
        if ahead:
            total += rates[(today + timedelta(days=ahead)).weekday()]
        width = spread * isqrt((ahead + 1) * 10_000) // 100 * 5 // 4
        expected.append(total)
        low.append(max(now, total - width))
        high.append(total + width)
    first = today.replace(day=1)
    return Forecast(first, tuple(so_far), tuple(expected), tuple(low), tuple(high))

"""Limits with what is used of them now."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from portal.decision import health
from portal.lib import windows
from portal.lib.errors import Unavailable
from portal.lib.money import format_money
from portal.limits.places import Place, Places
from portal.spend.models import Limit
from portal.spend.settled import LimitKey

BASE = 10**9
MEASURES = (
    ("spend|day", "Spend per day"),
    ("spend|week", "Spend per week"),
    ("spend|month", "Spend per month"),
    ("requests|minute", "Requests per minute"),
    ("requests|day", "Requests per day"),
    ("requests|week", "Requests per week"),
    ("requests|month", "Requests per month"),
    ("tokens|minute", "Model tokens per minute"),
    ("tokens|day", "Model tokens per day"),
    ("tokens|week", "Model tokens per week"),
    ("tokens|month", "Model tokens per month"),
    ("concurrency|none", "Calls in flight"),
)
"""Every pair of metric and window a limit can have, and its name."""


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A limit, where it is set, and what is used and held of it; `used` is None where that is not one number."""

    limit: Limit
    place: Place | None
    used: int | None
    resets: datetime | None

    @property
    def measure(self) -> str:
        """What it limits."""
        return dict(MEASURES)[f"{self.limit.metric}|{self.limit.window}"]

    @property
    def is_money(self) -> bool:
        """Whether amounts are nano-units of the currency."""
        return self.limit.metric == "spend"

    @property
    def is_each(self) -> bool:
        """Whether every user has a counter of their own."""
        return self.limit.scope_key.endswith(":*")


def rows_of(limits: Sequence[Limit], zone: str) -> list[LimitRow]:
    """Return the limits with their places and counters, in a fixed number of queries."""
    places = Places(limit.scope_key for limit in limits)
    used = used_of(limits, zone)
    ends = {w.kind: windows.to_datetime(w.end) for w in windows.windows_at(time.time(), zone)}
    return [
        LimitRow(limit, places.get(limit.scope_key), used.get(limit.pk), ends.get(limit.window))
        for limit in limits
    ]


def is_counted(limit: Limit) -> bool:
    """Tell whether one counter stands for the limit: not one for each of many, and no sliding minute."""
    return not limit.scope_key.endswith(":*") and limit.window != "minute"


def used_of(limits: Sequence[Limit], zone: str) -> dict[int, int]:
    """Return by limit what its counter has settled and holds now; no sliding minutes, nothing without Valkey."""
    counted = [limit for limit in limits if is_counted(limit)]
    starts = {window.kind: window.start for window in windows.windows_at(time.time(), zone)} | {"none": 0}
    names = [
        LimitKey(limit.scope_key, limit.metric, limit.window, limit.model).counter(limit.scope_key)
        for limit in counted
    ]
    try:
        counters = health.counters(names)
    except Unavailable:
        return {}
    found = {}
    for limit, counter in zip(counted, counters, strict=False):
        if not counter or counter[0] != starts[limit.window]:
            found[limit.pk] = 0
        elif limit.window == "none":
            found[limit.pk] = counter[1]
        else:
            found[limit.pk] = (counter[1] + counter[3]) * BASE + counter[2] + counter[4]
    return found


def shown(metric: str, amount: int, currency: str) -> str:
    """Return an amount as people read it."""
    return format_money(amount, currency) if metric == "spend" else f"{amount:,}"

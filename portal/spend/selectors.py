"""Questions about usage and limits. Usage is roll-ups plus the inbox not yet moved: never the ledger itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from portal.lib import windows
from portal.spend.models import Limit, Refusal
from portal.spend.settled import SCOPES_OF_ROW


@dataclass(frozen=True, slots=True)
class Calendar:
    """Where the organization's clock stands: the local day, its month, and how much of the day has passed."""

    zone: str
    now: datetime
    today: date
    first: date
    after: date
    day_per_mille: int

    @property
    def days_left(self) -> int:
        """How many days of the month come after today."""
        return (self.after - self.today).days - 1

    @property
    def ends(self) -> datetime:
        """The instant at which today ends."""
        return windows.to_datetime(windows.midnight(self.today + timedelta(days=1), self.zone))


def calendar(zone: str, now: datetime | None = None) -> Calendar:
    """Return the calendar of a time zone now."""
    now = now or timezone.now()
    moment = now.timestamp()
    day = windows.window_at("day", moment, zone)
    first = windows.first_day("month", day.first)
    passed = int(moment - day.start) * 1000 // (day.end - day.start)
    return Calendar(zone, now, day.first, first, windows.next_day("month", first), passed)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a scope used: calls of any status, model tokens and nano-units."""

    calls: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    spend: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """Return both together."""
        return Usage(
            self.calls + other.calls,
            self.failed + other.failed,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.spend + other.spend,
        )


@dataclass(frozen=True, slots=True)
class TodayAndMonth:
    """The spend of a scope today and this month, and today's calls."""

    today: int = 0
    month: int = 0
    calls_today: int = 0
    failed_today: int = 0


NOTHING = TodayAndMonth()

_USED = f"""(
    SELECT scope_key, day, model, calls, failed, input_tokens, output_tokens, spend FROM spend_rollup
     WHERE day >= %(first)s AND day < %(last)s AND {{match}}
    UNION ALL
    SELECT scope.scope_key, i.day, i.model, i.calls, CASE WHEN i.status = 'failed' THEN i.calls ELSE 0 END,
           i.input_tokens, i.output_tokens, i.spend
      FROM usage_inbox AS i CROSS JOIN LATERAL {SCOPES_OF_ROW.format(row="i")}
     WHERE i.day >= %(first)s AND i.day < %(last)s AND scope.scope_key IS NOT NULL AND {{match}}
) AS used"""  # noqa: S608  fixed texts, values are parameters
_EXACT = _USED.format(match="scope_key = ANY(%(keys)s)")
_PREFIX = _USED.format(match="starts_with(scope_key, %(prefix)s)")
_SUMS = "sum(calls)::bigint, sum(failed)::bigint, sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(spend)"
_TODAY_AND_MONTH = (
    "SELECT scope_key, coalesce(sum(spend) FILTER (WHERE day = %(today)s), 0), sum(spend),"
    " coalesce(sum(calls) FILTER (WHERE day = %(today)s), 0)::bigint,"
    " coalesce(sum(failed) FILTER (WHERE day = %(today)s), 0)::bigint"
)


def _rows(sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        # Sums of money outgrow a bigint; they come as exact decimals.
        return [
            tuple(int(value) if isinstance(value, Decimal) else value for value in row)
            for row in cursor.fetchall()
        ]


def _keys(scope: str | Iterable[str]) -> list[str]:
    return [scope] if isinstance(scope, str) else list(scope)


def usage_of(scope_keys: Iterable[str], first: date, last: date) -> dict[str, Usage]:
    """Return what each scope used on the local days ``first <= day < last``; a scope without usage is absent."""
    parameters = {"keys": list(scope_keys), "first": first, "last": last}
    rows = _rows(f"SELECT scope_key, {_SUMS} FROM {_EXACT} GROUP BY scope_key", parameters)  # noqa: S608
    return {row[0]: Usage(*row[1:]) for row in rows}


def today_and_month(scope_keys: Iterable[str], calendar: Calendar) -> dict[str, TodayAndMonth]:
    """Return the spend of each scope today and this month, in one query; a scope without usage is absent."""
    parameters = {
        "keys": list(scope_keys),
        "first": calendar.first,
        "last": calendar.after,
        "today": calendar.today,
    }
    rows = _rows(f"{_TODAY_AND_MONTH} FROM {_EXACT} GROUP BY scope_key", parameters)
    return {row[0]: TodayAndMonth(*row[1:]) for row in rows}


def today_and_month_within(prefix: str, calendar: Calendar, most: int = 50) -> dict[str, TodayAndMonth]:
    """Return the same for the scopes that begin with the prefix (``pu:7:``), the highest spend of the month first."""
    parameters = {
        "prefix": prefix,
        "first": calendar.first,
        "last": calendar.after,
        "today": calendar.today,
        "most": most,
    }
    rows = _rows(
        f"{_TODAY_AND_MONTH} FROM {_PREFIX} GROUP BY scope_key ORDER BY 3 DESC, 1 LIMIT %(most)s", parameters
    )
    return {row[0]: TodayAndMonth(*row[1:]) for row in rows}


def spend_by_day(scope: str | Iterable[str], first: date, last: date) -> list[int]:
    """Return the spend of each local day ``first <= day < last``: of one scope, or of several together."""
    by_day: dict[date, int] = {}
    for days in spend_by_day_of_each(_keys(scope), first, last).values():
        for day, spend in days.items():
            by_day[day] = by_day.get(day, 0) + spend
    return [by_day.get(first + timedelta(days=index), 0) for index in range((last - first).days)]


def spend_by_day_of_each(scope_keys: Iterable[str], first: date, last: date) -> dict[str, dict[date, int]]:
    """Return for each scope what it spent on the local days ``first <= day < last``; days without are absent."""
    rows = _rows(
        f"SELECT scope_key, day, sum(spend) FROM {_EXACT} GROUP BY scope_key, day",  # noqa: S608
        {"keys": list(scope_keys), "first": first, "last": last},
    )
    found: dict[str, dict[date, int]] = {}
    for scope_key, day, spend in rows:
        found.setdefault(scope_key, {})[day] = spend
    return found


def usage_by_model(
    scope: str | Iterable[str], first: date, last: date, most: int = 20
) -> list[tuple[str, Usage]]:
    """Return what a scope, or several together, used of each model, the dearest first."""
    rows = _rows(
        f"SELECT model, {_SUMS} FROM {_EXACT} GROUP BY model ORDER BY 6 DESC, 1 LIMIT %(most)s",  # noqa: S608
        {"keys": _keys(scope), "first": first, "last": last, "most": most},
    )
    return [(row[0], Usage(*row[1:])) for row in rows]


def usage_by_month(scope_keys: Iterable[str], first: date, last: date) -> dict[date, int]:
    """Return what the scopes together spent in each month ``first <= day < last``, by its first day."""
    rows = _rows(
        f"SELECT date_trunc('month', day)::date, sum(spend) FROM {_EXACT} GROUP BY 1",  # noqa: S608
        {"keys": list(scope_keys), "first": first, "last": last},
    )
    return dict(rows)


def usage_by_day_and_model(
    scope_keys: Iterable[str], first: date, last: date
) -> list[tuple[date, str, str, Usage]]:
    """Return what each scope used of each model on each local day ``first <= day < last``: day, scope, model, usage."""
    rows = _rows(
        f"SELECT day, scope_key, model, {_SUMS} FROM {_EXACT} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",  # noqa: S608
        {"keys": list(scope_keys), "first": first, "last": last},
    )
    return [(row[0], row[1], row[2], Usage(*row[3:])) for row in rows]


def refused_since(since: datetime, *, until: datetime | None = None, **scope: int | None) -> int:
    """Return how many calls were refused since the moment: of ``project=`` or ``group=``, else of everybody."""
    refusals = Refusal.objects.filter(occurred__gte=since, is_observed=False)
    if until is not None:
        refusals = refusals.filter(occurred__lt=until)
    if "project" in scope:
        refusals = refusals.filter(project=scope["project"])
    if "group" in scope:
        refusals = refusals.filter(group=scope["group"])
    return refusals.aggregate(count=Sum("count"))["count"] or 0


def limits_on(scope_keys: Iterable[str]) -> dict[str, list[Limit]]:
    """Return the limits of each scope; one without limits is absent."""
    found: dict[str, list[Limit]] = {}
    for limit in Limit.objects.filter(scope_key__in=list(scope_keys)).order_by("metric", "window", "model"):
        found.setdefault(limit.scope_key, []).append(limit)
    return found


def spend_limits(scope_keys: Iterable[str]) -> dict[str, tuple[int | None, int | None]]:
    """Return the enforced spend limit per day and per month of each scope, for all models together."""
    rows = Limit.objects.filter(
        scope_key__in=list(scope_keys), metric="spend", model="", mode="enforce", window__in=["day", "month"]
    ).values_list("scope_key", "window", "amount")
    found: dict[str, dict[str, int]] = {}
    for scope_key, window, amount in rows:
        found.setdefault(scope_key, {})[window] = amount
    return {key: (amounts.get("day"), amounts.get("month")) for key, amounts in found.items()}

"""Questions of the monitoring page that no area answers: the last hour, the limits in sight, how the gateway is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Min, Q, Sum
from django.db.models.functions import TruncMinute
from django.utils import timezone

from portal.decision import health
from portal.decision.health import Decider
from portal.decision.lost import Lost, lost_since
from portal.decision.models import Drift, Outage, Outbox, Rebuild
from portal.gateway.models import Gateway
from portal.lib.errors import Unavailable
from portal.lib.windows import midnight, to_datetime
from portal.spend import inbox
from portal.spend.forecast import HISTORY, forecast
from portal.spend.models import Refusal
from portal.spend.selectors import Calendar, limits_on, spend_by_day_of_each, today_and_month

MINUTES = 60
_LOST_WITHIN = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class MinuteCount:
    """The requests of one minute."""

    began: datetime
    served: int
    refused: int
    failed: int


def last_hour(project_ids: Sequence[int] | None, now: datetime) -> list[MinuteCount]:
    """Return served, refused and failed requests of each of the last 60 minutes, the one under way included.

    Served and failed come from ledger and inbox, refused from the refusals; calls that a limit would only have
    refused are served.
    """
    first = now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
    served: dict[datetime, tuple[int, int]] = {}
    for minute, ok, failed in _calls_since(first, project_ids):
        served[minute] = (ok, failed)
    refusals = Refusal.objects.filter(occurred__gte=first, is_observed=False)
    if project_ids is not None:
        refusals = refusals.filter(project__in=project_ids)
    refused = {
        row["minute"]: row["number"]
        for row in refusals.annotate(minute=TruncMinute("occurred"))
        .order_by()
        .values("minute")
        .annotate(number=Sum("count"))
    }
    minutes = [first + timedelta(minutes=index) for index in range(MINUTES)]
    return [
        MinuteCount(
            minute, served.get(minute, (0, 0))[0], refused.get(minute, 0), served.get(minute, (0, 0))[1]
        )
        for minute in minutes
    ]


def _calls_since(first: datetime, project_ids: Sequence[int] | None) -> list[Any]:
    counts = (
        "date_trunc('minute', moment) AS minute, coalesce(sum(calls) FILTER (WHERE status <> 'failed'), 0) AS served,"
        " coalesce(sum(calls) FILTER (WHERE status = 'failed'), 0) AS failed"
    )
    if project_ids is None:
        booked, where = "SELECT minute, served, failed FROM call_minute WHERE minute >= %(first)s", ""
    else:
        where = " AND project = ANY(%(projects)s)"
        booked = f"SELECT {counts} FROM ledger WHERE moment >= %(first)s{where} GROUP BY 1"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT minute, sum(served)::bigint, sum(failed)::bigint FROM ({booked} UNION ALL"  # noqa: S608  fixed texts
            f" SELECT {counts} FROM usage_inbox WHERE moment >= %(first)s{where} GROUP BY 1) AS calls GROUP BY 1",
            {"first": first, "projects": list(project_ids or [])},
        )
        rows: list[Any] = cursor.fetchall()
    return rows


@dataclass(frozen=True, slots=True)
class Subject:
    """Something with spend limits: its scope, name and page; ``is_paused`` says that it is not used at the moment."""

    scope_key: str
    name: str
    href: str
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class NearLimit:
    """A spend limit of which 80 % or more is used, and what comes next. Amounts in nano-units."""

    subject: Subject
    window: str
    used: int
    limit: int
    ends: date | None
    refusing_since: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self.used >= self.limit


def near_limits(subjects: Sequence[Subject], calendar: Calendar, most: int) -> tuple[list[NearLimit], int]:
    """Return the spend limits near or over, the most used first, and how many there are; in four queries."""
    keys = [subject.scope_key for subject in subjects]
    limits, used = limits_on(keys), today_and_month(keys, calendar)
    found: list[NearLimit] = []
    for subject in subjects:
        spent = used.get(subject.scope_key)
        for limit in limits.get(subject.scope_key, []):
            if limit.metric != "spend" or limit.model or limit.mode != "enforce" or spent is None:
                continue
            amount = {"day": spent.today, "month": spent.month}.get(limit.window)
            if amount is not None and amount * 10 >= limit.amount * 8:
                found.append(NearLimit(subject, limit.window, amount, limit.amount, None))
    found.sort(key=lambda near: (-(near.used * 1000 // max(near.limit, 1)), near.subject.name))
    return _with_ends(found[:most], calendar), len(found)


def _with_ends(shown: Sequence[NearLimit], calendar: Calendar) -> list[NearLimit]:
    begin = min(calendar.first, calendar.today - timedelta(days=HISTORY))
    keys = [near.subject.scope_key for near in shown if near.window == "month" and not near.is_over]
    after = calendar.today + timedelta(days=1)
    days = spend_by_day_of_each(keys, begin, after) if keys else {}
    since = _refusing_since([near for near in shown if near.is_over], calendar)
    completed = []
    for near in shown:
        ends = None
        if near.subject.scope_key in days and near.window == "month":
            by_day = days[near.subject.scope_key]
            spent = [by_day.get(begin + timedelta(days=index), 0) for index in range((after - begin).days)]
            ends = forecast(spent, calendar.today, calendar.day_per_mille, calendar.days_left).reaches(
                near.limit
            )
        completed.append(
            NearLimit(
                near.subject,
                near.window,
                near.used,
                near.limit,
                ends,
                since.get(f"{near.subject.scope_key}|spend|{near.window}|"),
            )
        )
    return completed


def _refusing_since(over: Sequence[NearLimit], calendar: Calendar) -> dict[str, datetime]:
    """Return since when each limit has refused calls in its present window, by what refusals call it."""
    if not over:
        return {}
    names = [f"{near.subject.scope_key}|spend|{near.window}|" for near in over]
    month, day = (to_datetime(midnight(first, calendar.zone)) for first in (calendar.first, calendar.today))
    rows = (
        Refusal.objects.filter(binding__in=names, occurred__gte=month, is_observed=False)
        .filter(Q(binding__endswith="|month|") | Q(occurred__gte=day))
        .order_by()
        .values("binding")
        .annotate(first=Min("occurred"))
    )
    return {row["binding"]: row["first"] for row in rows}


@dataclass(frozen=True, slots=True)
class Credentials:
    """How many credentials work, were used today, and end within the next week."""

    active: int
    used_today: int
    ending: int


@dataclass(frozen=True, slots=True)
class Health:
    """How usage and decisions flow."""

    decider: Decider | None
    last_usage: datetime | None
    last_gateway: str
    gateways: int
    waiting: int
    unpublished: int
    rebuilds: int
    last_rebuild: datetime | None
    lost: Lost
    drift: int
    last_drift: datetime | None
    outages: list[Outage]  # the latest of 30 days, newest first


def how_it_is() -> Health:
    """Return how usage and decisions flow; ``decider`` is None while Valkey is away."""
    since = timezone.now() - _LOST_WITHIN
    last_usage, gateway = _last_usage()
    rebuilds = Rebuild.objects.filter(finished__gte=since).aggregate(number=Count("pk"))["number"]
    last_rebuild = Rebuild.objects.filter(finished__isnull=False).order_by("-pk").first()
    drift = Drift.objects.filter(found__gte=since)
    last_drift = drift.order_by("-pk").first()
    return Health(
        _decider(),
        last_usage,
        gateway,
        Gateway.objects.filter(revoked__isnull=True).count(),
        inbox.size(),
        Outbox.objects.count(),
        rebuilds,
        last_rebuild.finished if last_rebuild else None,
        lost_since(since),
        drift.count(),
        last_drift.found if last_drift else None,
        list(Outage.objects.filter(began__gte=since).order_by("-began")[:5]),
    )


def _decider() -> Decider | None:
    try:
        return health.decider()
    except Unavailable:
        return None


def _last_usage() -> tuple[datetime | None, str]:
    """Return when the latest usage arrived and through which gateway."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT arrived, gateway FROM ("
            " (SELECT arrived, gateway FROM usage_inbox ORDER BY seq DESC LIMIT 1)"
            " UNION ALL (SELECT arrived, gateway FROM ledger ORDER BY moment DESC LIMIT 1)"
            ") AS latest ORDER BY arrived DESC LIMIT 1"
        )
        row = cursor.fetchone()
    if row is None:
        return None, ""
    gateway = Gateway.objects.filter(key_id=row[1]).first()
    return row[0], gateway.name if gateway else row[1]

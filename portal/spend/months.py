"""Months that are over keep a frozen report; usage and corrections that arrive later are the difference to it."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.lib.windows import midnight, next_day, to_datetime
from portal.organization.selectors import current
from portal.spend.models import MonthLine, MonthReport
from portal.spend.settled import SCOPES_OF_ROW

# By then every reservation of the month has ended, and its estimates are booked.
FROZEN_AFTER = timedelta(days=1)
# Longer than any transaction lives: what arrived before has been committed, or never will be.
_COMMITTED_AFTER = timedelta(minutes=5)

_LIST = "scope_key, calls, failed, input_tokens, output_tokens, spend"
_OF_ROW = """
    SELECT scope.scope_key, {sign} row.calls, {sign} CASE WHEN row.status = 'failed' THEN row.calls ELSE 0 END,
           {sign} row.input_tokens, {sign} row.output_tokens, {sign} row.spend
      FROM {table} AS row CROSS JOIN LATERAL {scopes}
     WHERE row.day >= %(first)s AND row.day < %(after)s AND {which}
"""
# Roll-ups hold what has been moved, whenever it arrived; the rows that arrived too late are taken out again.
_FREEZE = f"""
    INSERT INTO month_line (report_id, group_id, project_id, {_LIST})
    SELECT %(report)s, CASE WHEN scope_key LIKE 'g:%%' THEN substr(scope_key, 3)::bigint END,
           CASE WHEN scope_key LIKE 'p:%%' THEN substr(scope_key, 3)::bigint END, scope_key,
           sum(calls), sum(failed), sum(input_tokens), sum(output_tokens), sum(spend)
      FROM (SELECT {_LIST} FROM spend_rollup WHERE day >= %(first)s AND day < %(after)s
            UNION ALL {
    _OF_ROW.format(
        table="usage_inbox", scopes=SCOPES_OF_ROW.format(row="row"), sign="", which="row.arrived < %(frozen)s"
    )
}
            UNION ALL {
    _OF_ROW.format(
        table="ledger",
        scopes=SCOPES_OF_ROW.format(row="row"),
        sign="-",
        which="row.arrived >= %(frozen)s AND row.moment >= %(since)s AND row.moment < %(until)s",
    )
}) AS used ({_LIST})
     WHERE scope_key = 'o' OR scope_key LIKE 'g:%%' OR scope_key LIKE 'p:%%' GROUP BY scope_key
"""  # noqa: S608  fixed texts, values are parameters


def freezes(month: date, zone: str) -> datetime:
    """Return from when on the month's report may be frozen."""
    return to_datetime(midnight(next_day("month", month), zone)) + FROZEN_AFTER


def open_until(month: date, zone: str) -> datetime:
    """Return until when late usage may still be booked to the month; after it, only corrections change it."""
    ends = to_datetime(midnight(next_day("month", month), zone))
    return ends + timedelta(days=settings.RESTATEMENT_DAYS)


def moments(month: date) -> tuple[datetime, datetime]:
    """Return two instants around every call of the month, whatever the time zone was: they choose partitions."""
    around = timedelta(days=2)
    return to_datetime(midnight(month, "UTC")) - around, (
        to_datetime(midnight(next_day("month", month), "UTC")) + around
    )


def freeze_months(actor: Actor, now: datetime | None = None) -> list[date]:
    """Freeze the report of every month that is over and has none; return those months."""
    moment, zone = now or timezone.now(), current().zone
    return [
        month
        for month in _months_used()
        if freezes(month, zone) <= moment and freeze_month(month, moment - _COMMITTED_AFTER, actor)
    ]


@transaction.atomic
def freeze_month(month: date, frozen: datetime, actor: Actor) -> bool:
    """Freeze what had arrived for a month before the moment; False when somebody has done it already."""
    report, is_new = MonthReport.objects.get_or_create(month=month, defaults={"frozen": frozen})
    if not is_new:
        return False
    since, until = moments(month)
    with connection.cursor() as cursor:
        # Once a month, over all its roll-ups.
        cursor.execute("SET LOCAL statement_timeout = '180s'")
        cursor.execute(
            _FREEZE,
            {
                "report": report.pk,
                "first": month,
                "after": next_day("month", month),
                "frozen": frozen,
                "since": since,
                "until": until,
            },
        )
        lines = cursor.rowcount
    whole = MonthLine.objects.filter(report=report, scope_key="o").first()
    record(
        Action.MONTH_FROZEN,
        actor=actor,
        target=Target("month", f"{month:%Y-%m}", f"{month:%B %Y}"),
        changes={"spend": (None, whole.spend if whole else 0), "lines": (None, lines)},
    )
    return True


def _months_used() -> Iterator[date]:
    """Yield the months from the first that has usage and no report."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT date_trunc('month', min(day))::date, date_trunc('month', max(day))::date FROM spend_rollup"
        )
        month, last = cursor.fetchone()
    frozen = set(MonthReport.objects.values_list("month", flat=True))
    while month is not None and month <= last:
        if month not in frozen:
            yield month
        month = next_day("month", month)

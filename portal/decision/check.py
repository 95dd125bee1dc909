"""Compare counters, roll-ups and limits: find drift and repair it, find limits that are near or over."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record_all
from portal.decision import alerts, decide, drift, rebuild, state
from portal.decision.drift import BASE, Difference
from portal.decision.models import Drift
from portal.lib.errors import Unavailable
from portal.organization.models import Organization
from portal.organization.selectors import current
from portal.spend import retention
from portal.spend.standings import Standing, standings

NEAR = 80  # percent of a limit


@dataclass(slots=True)
class Checked:
    """What one check found."""

    limits: int = 0
    near: list[Standing] = field(default_factory=list)
    over: list[Standing] = field(default_factory=list)
    drift: list[Difference] = field(default_factory=list)
    alerts: int = 0


def check_limits(actor: Actor) -> Checked:
    """The minute's check: repair drift, record it, and tell of thresholds, first refusals and drift once a window."""
    rebuild.ensure_ready()
    turn = drift.turn()
    compared = drift.compare(turn.limits)
    organization = current()
    result = Checked(limits=len(compared.counters))
    result.drift += drift.repair(compared)
    turn.done()
    if result.drift:
        _record_drift(result.drift, organization, actor)
    least = min(NEAR, *organization.thresholds)
    standing = standings(state.calendar(state.server_time(), organization.zone), least)
    result.over += [each for each in standing if each.percent >= 100]
    result.near += [each for each in standing if NEAR <= each.percent < 100]
    result.alerts = alerts.tell_thresholds(standing, organization, actor)
    alerts.tell_refusals(organization)
    return result


@transaction.atomic
def _record_drift(repaired: Sequence[Difference], organization: Organization, actor: Actor) -> None:
    Drift.objects.bulk_create(
        [Drift(counter=each.counter, was=each.counted, is_now=each.recorded) for each in repaired],
        batch_size=1000,
    )
    record_all(
        Action.DRIFT_REPAIRED,
        (
            (Target("counter", each.counter, each.counter[2:]), {"settled": (each.counted, each.recorded)})
            for each in repaired
        ),
        actor=actor,
    )
    alerts.tell_drift([(each.counter[2:], each.counted, each.recorded) for each in repaired], organization)


def reserved_differences(counters: Iterable[str]) -> list[Difference]:
    """Return the counters, named or held on, whose reserved amount is not the sum of their open reservations."""
    answer = decide.ask("reserved", *counters)
    return [Difference(row[0].decode(), row[1] * BASE + row[2], row[3] * BASE + row[4]) for row in answer[1:]]


def rollup_differences() -> list[tuple[str, Any]]:
    """Compare the organization's roll-up with the ledger, day by day; return the days that differ."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(l.day, r.day), l.calls, l.spend, r.calls, r.spend FROM"
            " (SELECT day, sum(calls)::bigint AS calls, sum(spend) AS spend FROM ledger GROUP BY day) AS l"
            " FULL JOIN (SELECT day, sum(calls)::bigint AS calls, sum(spend) AS spend FROM spend_rollup"
            " WHERE scope_key = 'o' GROUP BY day) AS r ON r.day = l.day"
            " WHERE (l.calls IS DISTINCT FROM r.calls OR l.spend IS DISTINCT FROM r.spend)"
            # Days whose single calls were dropped by policy have their roll-ups only.
            " AND (%(since)s::date IS NULL OR coalesce(l.day, r.day) >= %(since)s) ORDER BY 1",
            {"since": retention.whole_since()},
        )
        return [(str(row[0]), row[1:]) for row in cursor.fetchall()]


def reconcile() -> dict[str, list[Any]]:
    """Compare counters with roll-ups and inbox, and roll-ups with the ledger; three lists, empty when all agree."""
    try:
        rebuild.ensure_ready()
        compared = drift.compare(drift.every_limit())
        reserved = reserved_differences(compared.counters)
    except Unavailable as error:
        raise Unavailable(f"the counters cannot be read: {error}") from error
    return {
        "counters": [vars_of(difference) for difference in compared.differences],
        "reserved": [vars_of(difference) for difference in reserved],
        "roll_ups": [
            {"day": day, "ledger_and_roll_up": list(values)} for day, values in rollup_differences()
        ],
    }


def vars_of(difference: Difference) -> dict[str, Any]:
    """Return the difference as plain values."""
    return {
        "counter": difference.counter,
        "counted": difference.counted,
        "recorded": difference.recorded,
    }

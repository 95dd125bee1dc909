"""Compare counters, roll-ups and limits: find drift and repair it, find limits that are near or over."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.decision import alerts, decide, jobs, rebuild, state, valkey
from portal.decision.models import Drift, Subject
from portal.lib.errors import Unavailable
from portal.organization.models import Organization
from portal.organization.selectors import current
from portal.spend import retention, settled
from portal.spend.models import Limit
from portal.spend.settled import LimitKey
from portal.spend.standings import Standing, standings

BASE = 10**9
NEAR = 80  # percent of a limit


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that does not say what the record says."""

    counter: str
    counted: int
    recorded: int


@dataclass(slots=True)
class Checked:
    """What one check found."""

    limits: int = 0
    near: list[Standing] = field(default_factory=list)
    over: list[Standing] = field(default_factory=list)
    drift: list[Difference] = field(default_factory=list)
    alerts: int = 0


@dataclass(frozen=True, slots=True)
class _Reading:
    counters: dict[str, tuple[LimitKey, int, int]]
    snapshot: settled.Snapshot
    counted: dict[str, list[int] | None]


def _read() -> _Reading:
    """Read the counters first, then the record: what is counted later than that makes no false drift."""
    now = state.server_time()
    limits = [LimitKey(row.scope_key, row.metric, row.window, row.model) for row in Limit.objects.all()]
    zone = Subject.objects.get(pk="cfg").data["zone"]
    current = state.calendar(now, zone)
    guess = settled.settled(limits, current)
    keys = sorted(guess)
    counted: dict[str, list[int] | None] = {}
    for start in range(0, len(keys), 1000):
        part = keys[start : start + 1000]
        answer = decide.ask("read", *part)
        counted.update(zip(part, answer[1:], strict=True))
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        seen = settled.snapshot()
        found = settled.settled(limits, current)
    return _Reading({key: found[key] for key in keys if key in found}, seen, counted)


def _difference(key: str, reading: _Reading) -> Difference | None:
    _, start, recorded = reading.counters[key]
    counter = reading.counted[key]
    counted = 0
    if counter:
        if counter[0] > start:
            return None  # the window has ended since
        if counter[0] == start:
            counted = counter[1] * BASE + counter[2]
    return None if counted == recorded else Difference(key, counted, recorded)


def differences(tries: int = 5) -> tuple[list[Difference], _Reading]:
    """Return the counters that differ from the record and stay so; what is on its way is not a difference."""
    suspects: dict[str, Difference] | None = None
    for _ in range(tries):
        jobs.move_usage()
        reading = _read()
        now = {key: difference for key in reading.counters if (difference := _difference(key, reading))}
        if suspects is not None:
            # Seen twice with the same numbers, and nothing was counted in between.
            now = {
                key: difference
                for key, difference in now.items()
                if suspects.get(key, difference) == difference
            }
        if not now or suspects == now:
            return list(now.values()), reading
        suspects = now
    return list((suspects or {}).values()), reading


def repair(found: list[Difference], reading: _Reading) -> list[Difference]:
    """Set counters to what the record says, unless they moved meanwhile; return those repaired."""
    done = []
    for difference in found:
        _, start, recorded = reading.counters[difference.counter]
        counter = reading.counted[difference.counter]
        seq = counter[5] if counter else 0
        if counter and counter[0] < start:
            continue  # it turns by itself at the next call
        answer = valkey.call(
            "repair",
            difference.counter,
            start,
            seq,
            *divmod(recorded, BASE),
            json.dumps([reading.snapshot.xmax, list(reading.snapshot.running)]),
        )
        if answer[0] == b"ok":
            done.append(difference)
    return done


def check_limits(actor: Actor) -> Checked:
    """The minute's check: repair drift, record it, and tell of thresholds, first refusals and drift once a window."""
    rebuild.ensure_ready()
    found, reading = differences()
    organization = current()
    result = Checked(limits=len(reading.counters))
    result.drift += repair(found, reading)
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
def _record_drift(repaired: Iterable[Difference], organization: Organization, actor: Actor) -> None:
    for difference in repaired:
        Drift.objects.create(counter=difference.counter, was=difference.counted, is_now=difference.recorded)
        record(
            Action.DRIFT_REPAIRED,
            actor=actor,
            target=Target("counter", difference.counter, difference.counter[2:]),
            changes={"settled": (difference.counted, difference.recorded)},
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
        found, reading = differences()
        reserved = reserved_differences(reading.counters)
    except Unavailable as error:
        raise Unavailable(f"the counters cannot be read: {error}") from error
    return {
        "counters": [vars_of(difference) for difference in found],
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

"""Compare counters, roll-ups and limits: find drift and repair it, find limits that are near or over."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.decision import decide, jobs, rebuild, state, valkey
from portal.decision.models import Drift, Subject
from portal.lib.errors import Unavailable
from portal.spend import settled
from portal.spend.models import Limit, LimitAlert
from portal.spend.scopes import Scope
from portal.spend.settled import LimitKey

BASE = 10**9
THRESHOLDS = (50, 80, 95, 100)


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that does not say what the record says."""

    counter: str
    counted: int
    recorded: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a limit is used in its current window."""

    limit: LimitKey
    counter: str
    start: int
    used: int
    amount: int

    @property
    def percent(self) -> int:
        """Whole percent, never rounded up to 100."""
        if self.amount == 0:
            return 100
        return self.used * 100 // self.amount


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


def standings(reading: _Reading) -> list[Standing]:
    """Return how much of every calendar limit is used."""
    amounts = {
        LimitKey(row.scope_key, row.metric, row.window, row.model): row.amount
        for row in Limit.objects.filter(mode="enforce")
    }
    return [
        Standing(limit, key, start, used, amounts[limit])
        for key, (limit, start, used) in reading.counters.items()
        if limit in amounts
    ]


def check_limits(actor: Actor) -> Checked:
    """The minute's check: repair drift, record it, and raise each threshold alert once a window."""
    rebuild.ensure_ready()
    found, reading = differences()
    result = Checked(limits=len(reading.counters))
    for difference in repair(found, reading):
        result.drift.append(difference)
        with transaction.atomic():
            Drift.objects.create(
                counter=difference.counter, was=difference.counted, is_now=difference.recorded
            )
            record(
                Action.DRIFT_REPAIRED,
                actor=actor,
                target=Target("counter", difference.counter, difference.counter[2:]),
                changes={"settled": (difference.counted, difference.recorded)},
            )
    for standing in standings(reading):
        if standing.percent >= 100:
            result.over.append(standing)
        elif standing.percent >= 80:
            result.near.append(standing)
        if standing.percent >= THRESHOLDS[0]:
            result.alerts += _alert(standing, actor)
    return result


def _alert(standing: Standing, actor: Actor) -> int:
    limit = standing.limit
    row = Limit.objects.filter(
        scope_key=limit.scope_key, metric=limit.metric, window=limit.window, model=limit.model
    ).first()
    if row is None:
        return 0
    raised = 0
    scope_key = standing.counter[2:].split("|", 1)[0]
    for threshold in THRESHOLDS:
        if standing.percent < threshold:
            break
        with transaction.atomic():
            _, is_new = LimitAlert.objects.get_or_create(
                limit=row,
                counter=scope_key,
                window_start=datetime.fromtimestamp(standing.start, UTC),
                threshold=threshold,
                defaults={"used": standing.used},
            )
            if is_new and threshold == 100:
                record(
                    Action.LIMIT_REACHED,
                    actor=actor,
                    target=Target("limit", standing.counter[2:], _label(limit.scope_key)),
                    project=Scope(scope_key).project,
                    group=Scope(scope_key).group,
                    changes={"used": (None, standing.used), "limit": (None, standing.amount)},
                )
        raised += is_new
    return raised


def _label(scope_key: str) -> str:
    """Return how a refusal names the scope."""
    subject = Subject.objects.filter(pk=f"l:{scope_key}").first()
    return str(subject.data["label"]) if subject else scope_key


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
            " WHERE l.calls IS DISTINCT FROM r.calls OR l.spend IS DISTINCT FROM r.spend ORDER BY 1"
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

"""Counters that differ from the record: find them and repair them, a part of all at a time when there are many.

Compared in each check are every counter of up to `MOST` limits. Where there are more, it is those that calls of the
last minutes used (up to `MOST` limits), and in turn all the others: every counter at least once in `CHECKS` checks,
which run every minute. `reconcile_spend` compares all of them at once.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.decision import decide, jobs, state, valkey
from portal.decision.models import Subject
from portal.lib.windows import CALENDAR
from portal.spend import settled
from portal.spend.models import Limit
from portal.spend.settled import LimitKey

BASE = 10**9
MOST = 5000
CHECKS = 50
_KEY = "checked:turn"
_BATCH = 500
_JUST_USED = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that does not say what the record says."""

    counter: str
    counted: int
    recorded: int


@dataclass(frozen=True, slots=True)
class _Reading:
    counters: dict[str, tuple[LimitKey, int, int]]
    snapshot: settled.Snapshot
    counted: dict[str, list[int] | None]


@dataclass(frozen=True, slots=True)
class Compared:
    """The counters that were compared, those that differ, and the reading that says so."""

    counters: Sequence[str]
    differences: list[Difference]
    reading: _Reading


@dataclass(frozen=True, slots=True)
class Turn:
    """The limits whose counters are due, and the last one of the part whose turn it is."""

    limits: list[LimitKey]
    last: int

    def done(self) -> None:
        """Note how far the turn has come. When Valkey loses that, a rebuild has made every counter exact."""
        valkey.command("SET", _KEY, self.last)


def every_limit() -> list[LimitKey]:
    """Return all limits that have a calendar window."""
    return [LimitKey(*row) for row in _calendar().values_list("scope_key", "metric", "window", "model")]


def _calendar() -> QuerySet[Limit]:
    return Limit.objects.filter(window__in=CALENDAR)


def turn() -> Turn:
    """Return whose turn it is: all of them unless there are many."""
    total = _calendar().count()
    if total <= MOST:
        return Turn(every_limit(), 0)
    size = max(MOST, -(-total // CHECKS))
    after = int(valkey.command("GET", _KEY) or 0)
    names = ("pk", "scope_key", "metric", "window", "model")
    rows = list(_calendar().filter(pk__gt=after).order_by("pk").values_list(*names)[:size])
    if len(rows) < size:  # the next turn begins
        rest = size - len(rows)
        rows += _calendar().filter(pk__lte=after).order_by("pk").values_list(*names)[:rest]
    used = settled.just_used(timezone.now() - _JUST_USED, MOST)
    return Turn(list({*(LimitKey(*row[1:]) for row in rows), *used}), rows[-1][0])


def _read(limits: Sequence[LimitKey]) -> _Reading:
    """Read the counters first, then the record: what is counted later than that makes no false drift."""
    now = state.server_time()
    zone = Subject.objects.get(pk="cfg").data["zone"]
    current = state.calendar(now, zone)
    each = [limit for limit in limits if limit.scope_key.endswith(":*")]
    named = {limit.counter(limit.scope_key) for limit in limits if not limit.scope_key.endswith(":*")}
    keys = sorted(named.union(settled.settled(each, current)))
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


def compare(limits: Sequence[LimitKey], tries: int = 5) -> Compared:
    """Return the counters that differ from the record and stay so; what is on its way is not a difference."""
    jobs.move_usage()
    reading = _read(limits)
    compared = list(reading.counters)
    suspects = _differences(reading)
    seen_twice: dict[str, Difference] = {}
    for _ in range(tries - 1 if suspects else 0):
        jobs.move_usage()
        # Only what differs is read again.
        reading = _read(list({reading.counters[key][0] for key in suspects}))
        found = _differences(reading)
        # Seen twice with the same numbers: nothing was counted in between.
        seen_twice = {key: each for key, each in found.items() if suspects.get(key) == each}
        if seen_twice == found:
            break
        suspects = found
    return Compared(compared, list(seen_twice.values()), reading)


def _differences(reading: _Reading) -> dict[str, Difference]:
    return {key: difference for key in reading.counters if (difference := _difference(key, reading))}


def repair(compared: Compared) -> list[Difference]:
    """Set counters to what the record says, unless they moved meanwhile; return those repaired."""
    reading = compared.reading
    snapshot = json.dumps([reading.snapshot.xmax, list(reading.snapshot.running)])
    due: list[tuple[Difference, tuple[Any, ...]]] = []
    for difference in compared.differences:
        _, start, recorded = reading.counters[difference.counter]
        counter = reading.counted[difference.counter]
        seq = counter[5] if counter else 0
        if counter and counter[0] < start:
            continue  # it turns by itself at the next call
        due.append((difference, (difference.counter, start, seq, *divmod(recorded, BASE))))
    done: list[Difference] = []
    for start in range(0, len(due), _BATCH):
        part = due[start : start + _BATCH]
        answer = valkey.call("repair", snapshot, *chain.from_iterable(row for _, row in part))
        if answer[0] != b"ok":
            break  # a rebuild makes every counter exact
        done += [each for (each, _), is_done in zip(part, answer[1:], strict=True) if is_done]
    return done

"""Make the decision state anew from Postgres, before the next decision.

It is due when Valkey has lost its data, was restarted, or got other functions: then the functions know no epoch and
decide nothing. While it runs nothing is decided and nothing is counted; what is reported meanwhile is committed to
Postgres and counted when it is done.
"""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

from django.db import close_old_connections, connection, transaction
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.decision import carry, epoch, recall, state, subjects, valkey
from portal.decision.models import Rebuild, Subject
from portal.lib.errors import Unavailable
from portal.spend import settled

log = logging.getLogger(__name__)

_LOCK = 7345002
_BATCH = 500


def is_ready() -> bool:
    """Whether the functions decide at the moment."""
    return bool(valkey.call("state")[0] == b"ok")


def ensure_ready(wait: float = 20.0) -> None:
    """Renew the lease, or rebuild, unless somebody else has; raise Unavailable when that takes longer than ``wait``.

    It is also unavailable while Postgres decides, as long as some web process cannot reach Valkey.
    """
    deadline = time.monotonic() + wait
    if is_ready():
        return
    while not is_ready():
        # Not every caller is a request or a task, and Postgres may have been restarted since the last one.
        if not connection.in_atomic_block:
            close_old_connections()
        if epoch.renew():
            continue
        if connection.in_atomic_block:
            raise Unavailable("the decision state is missing, and inside a transaction it cannot be rebuilt")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
            mine = cursor.fetchone()[0]
        if mine:
            try:
                if not is_ready() and not epoch.renew():
                    epoch.begin_return()
                    _rebuild("decision state missing")
            finally:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
        elif time.monotonic() > deadline:
            raise Unavailable("the decision state is being rebuilt")
        else:
            time.sleep(0.02)
    recall.note(epoch.current())


def rebuild(reason: str) -> None:
    """Rebuild now, whatever the state; for operators and tests."""
    valkey.call("rebuild_begin", 0)
    log.info("rebuild asked for: %s", reason)
    ensure_ready()


def _rebuild(reason: str) -> None:
    begun = timezone.now()
    row = Rebuild.objects.create(reason=reason, started=begun)
    subjects.ensure_configuration()
    valkey.call("rebuild_begin", row.id)
    for keys in _derived_keys():
        valkey.command("UNLINK", *keys)
    now = state.server_time()
    limits: list[settled.LimitKey] = []
    count = 0
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = '60s'")
        seen = state.snapshot_json(settled.snapshot())
        configuration = Subject.objects.get(pk="cfg")
        text = json.dumps({**configuration.data, "version": configuration.version})
        valkey.call("put_configuration", configuration.version, text)
        for batch in _batches(Subject.objects.exclude(pk="cfg").values_list("key", "version", "data")):
            count += len(batch)
            plain = [
                part
                for key, version, data in batch
                if key[0] != "l"
                for part in (key, version, json.dumps(data))
            ]
            if plain:
                valkey.call("put", *plain)
            sets = [entry for entry in batch if entry[0][0] == "l"]
            for key, _, data in sets:
                limits += state.limit_keys(key[2:], data)
            if sets:
                loads = (
                    part
                    for key, version, data in sets
                    for part in ("l", json.dumps([key[2:], version, data]))
                )
                _load(row.id, "rebuild_load", seen, *loads)
        current = state.calendar(now, configuration.data["zone"])
        counters = settled.settled(limits, current)
        closed = carry.closed_in_snapshot(row.id)
    for part in _batches(iter(state.counter_rows(counters))):
        loads = (item for key, start, hi, lo in part for item in ("k", json.dumps([key, start, hi, lo])))
        _load(row.id, "rebuild_load", seen, *loads)
    starts = [current[kind].start for kind in ("day", "week", "month")]
    last_open = epoch.last_open_reservations()
    with epoch.locked(exclusive=True, wait_ms=5000) as decider:
        if decider.state == epoch.State.POSTGRES:
            raise Unavailable("Postgres has begun to decide since, and usage may have moved uncounted")
        # From here on until Valkey opens nobody decides: what Postgres has reserved is complete.
        carried = carry.carry(row.id, closed)
        held, rank = 0, 0
        while True:
            held += _load(row.id, "rebuild_recount", rank, rank + _BATCH - 1, *starts)[1]
            rank += _BATCH
            if rank >= valkey.command("ZCARD", "x"):
                break
        clock = epoch.valkey_clock()
        epoch.opened(decider, row.id)
    if valkey.call("rebuild_open", row.id, epoch.until(clock))[0] != b"ok":
        return  # data was lost meanwhile: whoever asked finds it not ready and begins again
    kept = held - carried
    lost = max(0, last_open - kept - len(closed.booked))
    with epoch.locked(exclusive=False, wait_ms=5000) as decider:
        if (decider.state, decider.epoch) == (epoch.State.VALKEY, row.id):
            carry.forget()
        Rebuild.objects.filter(pk=row.id).update(
            finished=timezone.now(),
            subjects=count,
            kept_reservations=kept,
            carried_reservations=carried,
            lost_reservations=lost,
        )
        changes: dict[str, tuple[object, object]] = {
            "epoch": (None, row.id),
            "subjects": (None, count),
            "kept_reservations": (None, kept),
        }
        if carried or lost:
            changes |= {"carried_reservations": (None, carried), "lost_reservations": (None, lost)}
        record(
            Action.STATE_REBUILT,
            actor=Actor.system(),
            target=Target("organization", "1", "the organization"),
            changes=changes,
            comment=reason,
        )
    log.warning(
        "decision state rebuilt: epoch %s, %s subjects, reservations: %s kept, %s carried, %s lost",
        *(row.id, count, kept, carried, lost),
    )


def _load(number: int, function: str, *arguments: Any) -> list[Any]:
    """Call a function of the rebuild; raise Unavailable when it is no longer ours."""
    answer = valkey.call(function, number, *arguments)
    if answer[0] != b"ok":
        raise Unavailable("the data was lost again, or another rebuild has begun")
    return answer


def _derived_keys() -> Iterator[list[Any]]:
    """Yield counters and subjects: what is not in the record must not stay. Deny marks and reservations do."""
    cursor: Any = b"0"
    while True:
        cursor, keys = valkey.command("SCAN", cursor, "COUNT", 1000)
        derived = [key for key in keys if key[:2] in (b"k:", b"l:", b"s:", b"p:", b"w:", b"n:")]
        if derived:
            yield derived
        if cursor in (b"0", 0, "0"):
            return


def _batches(rows: Any) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for row in rows.iterator(chunk_size=2000) if hasattr(rows, "iterator") else rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch

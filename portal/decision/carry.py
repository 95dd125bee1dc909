"""Bring the reservations that Postgres made, or learned of, to Valkey before that decides again."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from portal.decision import valkey
from portal.decision.models import FallbackReservation
from portal.lib.errors import Unavailable
from portal.spend import inbox

BASE = 10**9
_BATCH = 500
_State = FallbackReservation.State


@dataclass(frozen=True, slots=True)
class Closed:
    """What the snapshot of a rebuild has seen settled: its usage is in the counters that were read in it.

    ``of_postgres`` are keys of the fallback's reservations, ``booked`` keys of those that Valkey has kept.
    """

    of_postgres: set[str]
    booked: list[str]


def closed_in_snapshot(epoch: int) -> Closed:
    """Return what is closed in the snapshot of the current transaction, which must be REPEATABLE READ.

    What is settled later stays reserved until its usage has been counted, so that it counts at every moment.
    """
    of_postgres = set(FallbackReservation.objects.filter(state=_State.SETTLED).values_list("key", flat=True))
    found: list[str] = []
    rank = 0
    while True:
        answer = valkey.call("rebuild_calls", epoch, rank, rank + _BATCH - 1)
        if answer[0] != b"ok":
            raise Unavailable("the data was lost again, or another rebuild has begun")
        calls = {(row[1].decode(), row[2].decode()): row[0].decode() for row in answer[1:]}
        found += [calls[call] for call in inbox.booked(list(calls))]
        rank += _BATCH
        if rank >= valkey.command("ZCARD", "x"):
            return Closed(of_postgres, found)


def carry(epoch: int, closed: Closed) -> int:
    """Put the fallback's reservations into Valkey; return how many are open. Nobody may decide meanwhile."""
    if closed.booked:
        valkey.call("rebuild_close", epoch, _State.SETTLED, settings.TOMBSTONE_SECONDS, *closed.booked)
    carried = 0
    for rows in _batches(FallbackReservation.objects.iterator(chunk_size=_BATCH)):
        records = []
        for row in rows:
            is_open = row.state != _State.RELEASED and row.key not in closed.of_postgres
            carried += is_open and row.request_id != ""
            records.append(json.dumps([row.key, _record(row, "open" if is_open else row.state)]))
        if valkey.call("rebuild_carry", epoch, settings.TOMBSTONE_SECONDS, *records)[0] != b"ok":
            raise Unavailable("the data was lost again, or another rebuild has begun")
    return carried


def forget() -> None:
    """Drop the fallback's reservations: Valkey has them."""
    FallbackReservation.objects.all().delete()


def _record(row: FallbackReservation, state: str) -> list[Any]:
    """Return the reservation as the functions keep it."""
    return [
        state,
        row.fingerprint,
        row.moment,
        row.expires,
        row.group,
        row.project,
        row.person,
        row.draws_on,
        row.credential,
        row.model,
        row.price,
        *divmod(row.spend, BASE),
        *divmod(row.tokens, BASE),
        [],
        row.request_id,
        row.gateway,
    ]


def _batches(rows: Iterator[FallbackReservation]) -> Iterator[list[FallbackReservation]]:
    batch: list[FallbackReservation] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch

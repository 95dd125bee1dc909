"""What Postgres holds while it decides: its reservations, and their sums together with what is settled.

Nothing is counted up: every sum is read in one snapshot, in which a call is either reserved or settled.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from django.conf import settings
from django.db import connection

from portal.decision import reservation
from portal.decision.fallback_rules import Bound, Used
from portal.decision.models import FallbackReservation
from portal.lib import windows
from portal.spend import inbox
from portal.spend.inbox import Stored
from portal.spend.settled import SCOPES_OF_ROW

State = FallbackReservation.State

_MATCH = (
    "(w.pattern IN ('', x.model)"
    " OR (right(w.pattern, 1) = '*' AND starts_with(x.model, left(w.pattern, -1))))"
)
_AMOUNT = "CASE w.metric WHEN 'spend' THEN x.spend WHEN 'tokens' THEN x.tokens ELSE x.calls END"
_USED = f"""
    WITH wanted AS MATERIALIZED (
        SELECT * FROM unnest(%(n)s::int[], %(scope)s::text[], %(metric)s::text[], %(pattern)s::text[],
                             %(kind)s::text[], %(first)s::date[], %(last)s::date[], %(since)s::bigint[],
                             %(until)s::bigint[]) AS w (n, scope, metric, pattern, kind, first, last, since, until)
    ), waiting AS MATERIALIZED (
        SELECT scope.scope_key, i.day, i.model, i.spend, i.input_tokens + i.output_tokens AS tokens, i.calls
          FROM usage_inbox AS i CROSS JOIN LATERAL {SCOPES_OF_ROW.format(row="i")}
         WHERE scope.scope_key = ANY(%(scope)s)
    ), held AS MATERIALIZED (
        SELECT scope.scope_key, f.state, f.moment, f.model, f.spend, 1 AS calls,
               CASE f.state WHEN 'open' THEN f.tokens ELSE f.used_tokens END AS tokens
          FROM decision_fallback_reservation AS f CROSS JOIN LATERAL {SCOPES_OF_ROW.format(row="f")}
         WHERE scope.scope_key = ANY(%(scope)s)
           AND (f.state = 'open' OR (f.state = 'settled' AND f.moment >= %(minute)s - 60000))
    )
    SELECT w.n,
           coalesce((SELECT sum({_AMOUNT})
              FROM (SELECT r.day, r.model, r.spend, r.input_tokens + r.output_tokens AS tokens, r.calls
                      FROM spend_rollup AS r
                     WHERE r.scope_key = w.scope AND r.day >= w.first AND r.day < w.last) AS x
             WHERE {_MATCH}), 0)
         + coalesce((SELECT sum({_AMOUNT}) FROM waiting AS x
             WHERE x.scope_key = w.scope AND x.day >= w.first AND x.day < w.last AND {_MATCH}), 0),
           coalesce((SELECT sum({_AMOUNT}) FROM held AS x
             WHERE x.scope_key = w.scope AND x.state = 'open' AND {_MATCH}
               AND w.kind <> 'minute' AND x.moment >= w.since AND x.moment < w.until), 0),
           coalesce((SELECT sum({_AMOUNT}) FROM held AS x
             WHERE x.scope_key = w.scope AND w.kind = 'minute' AND {_MATCH} AND x.moment >= %(minute)s), 0),
           coalesce((SELECT sum({_AMOUNT}) FROM held AS x
             WHERE x.scope_key = w.scope AND w.kind = 'minute' AND {_MATCH}
               AND x.moment >= %(minute)s - 60000 AND x.moment < %(minute)s), 0)
      FROM wanted AS w
"""  # noqa: S608  fixed names
_ALWAYS = 1 << 62


def lock(limits: Iterable[Bound]) -> None:
    """Lock the counters of the limits until the transaction ends, in one order for everybody."""
    numbers = sorted(
        int.from_bytes(hashlib.blake2b(limit.key.encode(), digest_size=8).digest(), signed=True)
        for limit in limits
    )
    if numbers:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_advisory_xact_lock(key)) FROM unnest(%s::bigint[]) AS key", [numbers]
            )


def used(limits: Sequence[Bound], now: int, current: dict[str, windows.Window]) -> list[Used]:
    """Return what the counters of the limits say, all in one snapshot. ``now`` in milliseconds."""
    if not limits:
        return []
    never = date(1970, 1, 1)
    columns: dict[str, list[Any]] = {
        "n": list(range(len(limits))),
        "scope": [limit.scope for limit in limits],
        "metric": [limit.metric for limit in limits],
        "pattern": [limit.pattern for limit in limits],
        "kind": [limit.window for limit in limits],
        "first": [],
        "last": [],
        "since": [],
        "until": [],
    }
    for limit in limits:
        window = current.get(limit.window)
        columns["first"].append(window.first if window else never)
        columns["last"].append(windows.next_day(window.kind, window.first) if window else never)
        columns["since"].append(window.start * 1000 if window else 0)
        columns["until"].append(window.end * 1000 if window else _ALWAYS)
    with connection.cursor() as cursor:
        cursor.execute(_USED, {**columns, "minute": now // 60000 * 60000})
        found = {row[0]: Used(*map(int, row[1:])) for row in cursor.fetchall()}
    return [found[number] for number in range(len(limits))]


def settle(stored: Iterable[Stored]) -> None:
    """Close the reservations of calls that are booked, in the transaction that books them."""
    rows = {
        reservation.record_key(row.entry.gateway, reservation.request_hash(row.entry.request_id)): row.entry
        for row in stored
        if row.entry.kind in ("settle", "estimate")
    }
    if not rows:
        return
    keys = sorted(rows)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE decision_fallback_reservation AS f SET state = 'settled', used_tokens = n.tokens"
            " FROM unnest(%s::text[], %s::bigint[]) AS n (key, tokens)"
            " WHERE f.key = n.key AND f.state = 'open'",
            [keys, [rows[key].input_tokens + rows[key].output_tokens for key in keys]],
        )


def close(calls: Iterable[tuple[str, str]]) -> None:
    """Close what is still reserved for calls (gateway, request id) that were booked before."""
    keys = [reservation.record_key(gateway, reservation.request_hash(request)) for gateway, request in calls]
    if keys:
        FallbackReservation.objects.filter(key__in=keys, state=State.OPEN).update(state=State.SETTLED)


def find(key: str) -> FallbackReservation | None:
    """Return the reservation, locked until the transaction ends."""
    return FallbackReservation.objects.select_for_update().filter(pk=key).first()


def is_booked(gateway: str, request_id: str) -> bool:
    """Whether usage or an estimate is booked for the call."""
    return bool(inbox.booked([(gateway, request_id)]))


def is_booked_at(held: reservation.Reservation) -> bool:
    """Whether usage or an estimate is booked for the reservation, whose id knows the request only by its hash."""
    moment = datetime.fromtimestamp(held.moment / 1000, UTC)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT request_id FROM ledger WHERE moment = %(moment)s AND gateway = %(gateway)s"
            " UNION ALL SELECT request_id FROM usage_inbox WHERE moment = %(moment)s AND gateway = %(gateway)s",
            {"moment": moment, "gateway": held.gateway},
        )
        return any(reservation.request_hash(row[0]) == held.request for row in cursor.fetchall())


def due(now: int, batch: int) -> list[FallbackReservation]:
    """Return reservations that have expired."""
    rows = FallbackReservation.objects.filter(state=State.OPEN, expires__lte=now)
    return list(rows.order_by("expires", "key")[:batch])


def due_row(row: FallbackReservation) -> list[Any]:
    """Return a reservation in the form of the function ``due``."""
    return [
        row.key, row.gateway.encode(), row.request_id.encode(), row.moment, row.group, row.project, row.person,
        row.draws_on, row.credential.encode(), row.model.encode(), row.price, *divmod(row.spend, 10**9),
        *divmod(row.tokens, 10**9), row.expires,
    ]  # fmt: skip


def drop(keys: Iterable[str]) -> None:
    """Close what is still open of the reservations: their usage is booked, or Valkey knows them better."""
    still_open = FallbackReservation.objects.filter(key__in=list(keys), state=State.OPEN)
    still_open.filter(request_id="").delete()
    still_open.update(state=State.SETTLED)


def lookup(gateway: str, request_ids: Iterable[str]) -> dict[str, list[Any]]:
    """Return what is known of authorizations by request id, in the form of the function ``lookup``."""
    keys = {
        reservation.record_key(gateway, reservation.request_hash(request)): request for request in request_ids
    }
    return {
        keys[row.key]: [
            row.state, row.moment, row.group, row.project, row.person, row.draws_on, row.credential.encode(),
            row.model.encode(), row.price, *divmod(row.spend, 10**9), row.expires,
        ]
        for row in FallbackReservation.objects.filter(key__in=keys)
    }  # fmt: skip


def of_id(held: reservation.Reservation, model: str, state: str, expires: int) -> FallbackReservation:
    """Return a reservation of Valkey's as far as its id tells: without its request id and fingerprint."""
    return FallbackReservation(
        key=held.key,
        state=state,
        fingerprint="",
        moment=held.moment,
        expires=expires,
        group=held.group,
        project=held.project,
        person=held.person,
        draws_on=held.draws_on,
        credential=held.credential,
        model=model,
        price=held.price,
        spend=held.amount,
        tokens=held.tokens,
        request_id="",
        gateway=held.gateway,
    )


def expiry(now: int) -> int:
    """Return when a reservation that is made or renewed now expires (milliseconds)."""
    return now + settings.RESERVATION_SECONDS * 1000

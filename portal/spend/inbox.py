"""The inbox: usage is committed here before it is acknowledged, and leaves it exactly once, for ledger and roll-ups."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from uuid import UUID

from django.db import connection, transaction

from portal.lib.uuid7 import uuid7
from portal.spend.settled import GROUPS_OF_SCOPES, SCOPE_OF_GROUP

_MOVE_LOCK = 7345003
_AMONG = "(gateway, request_id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row on its way to the ledger; the fields are the ledger's columns. Amounts in nano-units."""

    id: UUID
    moment: datetime
    day: date
    kind: str
    refers_to: UUID | None
    gateway: str
    request_id: str
    credential: str
    project: int
    group_id: int | None
    person: int | None
    draws_on: int | None
    model: str
    price_id: int | None
    status: str
    calls: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    spend: int
    reserved: int | None
    gateway_cost: int | None
    is_late: bool
    is_restated: bool
    occurred: datetime
    arrived: datetime


@dataclass(frozen=True, slots=True)
class Totals:
    """What one call comes to, its corrections included."""

    calls: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    spend: int

    def __neg__(self) -> "Totals":
        """Return what takes all of it back."""
        return Totals(*(-getattr(self, field.name) for field in fields(self)))


COLUMNS = tuple(field.name for field in fields(Entry))


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the inbox with what identifies it there."""

    seq: int
    xid: int
    entry: Entry


_TYPES = {
    **dict.fromkeys(("id", "refers_to"), "uuid"),
    **dict.fromkeys(("moment", "occurred", "arrived"), "timestamptz"),
    **dict.fromkeys(("kind", "gateway", "request_id", "credential", "model", "status"), "text"),
    **dict.fromkeys(("is_late", "is_restated"), "boolean"),
    "day": "date",
    "calls": "smallint",
}
_ARRAYS = ", ".join("%s::" + _TYPES.get(name, "bigint") + "[]" for name in COLUMNS)
_INSERT = (
    f"INSERT INTO usage_inbox ({', '.join(COLUMNS)}) SELECT * FROM unnest({_ARRAYS})"  # noqa: S608  fixed names
    " RETURNING id, seq, xid::text"
)


def _insert(entries: Sequence[Entry]) -> list[Stored]:
    if not entries:
        return []
    # One array for each column: thousands of placeholders would take longer to read than the rows to insert.
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [[getattr(entry, name) for entry in entries] for name in COLUMNS])
        placed = {row[0]: (row[1], int(row[2])) for row in cursor.fetchall()}
    return [Stored(*placed[entry.id], entry) for entry in entries]


_KEYS = (
    "INSERT INTO usage_key AS k (gateway, request_id, state, entry_id, moment)"
    " SELECT gateway, request_id, %s, entry_id, moment"
    " FROM unnest(%s::text[], %s::text[], %s::uuid[], %s::timestamptz[]) AS new (gateway, request_id, entry_id, moment)"
)


def _key_arrays(entries: Sequence[Entry]) -> list[list[object]]:
    names = ("gateway", "request_id", "id", "moment")
    return [[getattr(entry, name) for entry in entries] for name in names]


@transaction.atomic
def add_settlements(entries: Sequence[Entry]) -> list[Stored]:
    """Commit what calls really used, each (gateway, request id) once; return the rows that were new.

    An estimate that was booked for one is reversed in the same transaction, its corrections with it. The caller must
    leave the transaction before it acknowledges. Keys are locked in order, so that racing batches do not deadlock.
    """
    ordered = sorted({(entry.gateway, entry.request_id): entry for entry in entries}.values(), key=_key)
    fresh: list[Entry] = []
    estimated: list[tuple[Entry, UUID, datetime]] = []
    with connection.cursor() as cursor:
        for start in range(0, len(ordered), 1000):
            part = ordered[start : start + 1000]
            cursor.execute(
                f"{_KEYS} ON CONFLICT (gateway, request_id) DO UPDATE SET state = 's' WHERE k.state = 'e'"
                " RETURNING gateway, request_id, entry_id, moment",
                ["s", *_key_arrays(part)],
            )
            written = {(row[0], row[1]): (row[2], row[3]) for row in cursor.fetchall()}
            for entry in part:
                if _key(entry) in written:
                    entry_id, moment = written[_key(entry)]
                    fresh.append(entry)
                    if entry_id != entry.id:
                        estimated.append((entry, entry_id, moment))
    reversals = [
        _further(found, "reversal", -_comes_to(found)[1], entry.arrived)
        for entry, entry_id, moment in estimated
        if (found := _find(entry_id, moment)) is not None
    ]
    return _insert(reversals + fresh)


@transaction.atomic
def add_estimates(entries: Sequence[Entry]) -> list[Stored]:
    """Commit estimates for calls that nobody has reported; one that was reported meanwhile is left out."""
    ordered = sorted(entries, key=_key)
    if not ordered:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_KEYS} ON CONFLICT (gateway, request_id) DO NOTHING RETURNING entry_id",
            ["e", *_key_arrays(ordered)],
        )
        written = {row[0] for row in cursor.fetchall()}
    return _insert([entry for entry in ordered if entry.id in written])


def lock_call(entry_id: UUID, moment: datetime) -> tuple[Entry, Totals] | None:
    """Return the row a call counts by, settled or estimated, and what it comes to, until the transaction ends.

    None when there is no such row, or it is an estimate that was reversed: the call was reported meanwhile.
    """
    entry = _find(entry_id, moment)
    if entry is None or entry.kind not in ("settle", "estimate"):
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM usage_key WHERE gateway = %s AND request_id = %s FOR UPDATE",
            [entry.gateway, entry.request_id],
        )
    is_reversed, totals = _comes_to(entry)
    return None if is_reversed else (entry, totals)


_TOTALS = [field.name for field in fields(Totals)]
_OF_CALL = " UNION ALL ".join(
    f"SELECT {', '.join(COLUMNS)} FROM {table} WHERE moment = %(moment)s AND (id = %(id)s OR refers_to = %(id)s)"  # noqa: S608
    for table in ("ledger", "usage_inbox")
)
_COMES_TO = (
    f"SELECT bool_or(kind = 'reversal'), {', '.join(f'sum({name})' for name in _TOTALS)}"  # noqa: S608  fixed names
    f" FROM ({_OF_CALL}) AS of_call"
)


def _comes_to(entry: Entry) -> tuple[bool, Totals]:
    """Tell whether a row was reversed, and return what it comes to with the rows that name it."""
    with connection.cursor() as cursor:
        cursor.execute(_COMES_TO, {"id": entry.id, "moment": entry.moment})
        is_reversed, *sums = cursor.fetchone()
    return is_reversed, Totals(*map(int, sums))


def add_correction(entry: Entry, difference: Totals, *, arrived: datetime) -> Stored:
    """Commit a further row that changes what a call comes to, and names the row it corrects."""
    (stored,) = _insert([_further(entry, "correction", difference, arrived)])
    return stored


def _further(entry: Entry, kind: str, difference: Totals, arrived: datetime) -> Entry:
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    changed = {name: getattr(difference, name) for name in _TOTALS}
    return Entry(
        **{**values, **changed, "id": uuid7(), "kind": kind, "refers_to": entry.id, "arrived": arrived}
    )


def known(keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those (gateway, request id) that have been settled."""
    if not keys:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT gateway, request_id FROM usage_key WHERE state = 's' AND {_AMONG}",  # noqa: S608  fixed names
            [list(part) for part in zip(*keys, strict=True)],
        )
        return {(row[0], row[1]) for row in cursor.fetchall()}


def booked(keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those (gateway, request id) that have been settled or estimated."""
    if not keys:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT gateway, request_id FROM usage_key WHERE {_AMONG}",  # noqa: S608  fixed names
            [list(part) for part in zip(*keys, strict=True)],
        )
        return {(row[0], row[1]) for row in cursor.fetchall()}


def is_taken(gateway: str, request_id: str) -> bool:
    """Whether a call of the gateway under this id has been settled or estimated."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM usage_key WHERE gateway = %s AND request_id = %s)",
            [gateway, request_id],
        )
        return bool(cursor.fetchone()[0])


def estimated(keys: Sequence[tuple[str, str]]) -> dict[str, Entry]:
    """Return the estimates that stand for calls (gateway, request id) nobody has reported, by request id."""
    if not keys:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT entry_id, moment FROM usage_key WHERE state = 'e' AND {_AMONG}",  # noqa: S608  fixed names
            [list(part) for part in zip(*keys, strict=True)],
        )
        rows = cursor.fetchall()
    found = [entry for entry_id, moment in rows if (entry := _find(entry_id, moment)) is not None]
    return {entry.request_id: entry for entry in found}


def waiting(limit: int) -> list[Stored]:
    """Return the oldest rows of the inbox."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT seq, xid::text, {', '.join(COLUMNS)} FROM usage_inbox"  # noqa: S608  fixed names
            " ORDER BY seq LIMIT %s",
            [limit],
        )
        return [Stored(row[0], int(row[1]), Entry(*row[2:])) for row in cursor.fetchall()]


def has_usage(since: datetime | None = None) -> bool:
    """Whether anything was ever booked, or booked for a moment from ``since`` on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM usage_inbox WHERE moment >= %(since)s)"
            " OR EXISTS (SELECT FROM ledger WHERE moment >= %(since)s)"
            if since
            else "SELECT EXISTS (SELECT FROM usage_inbox) OR EXISTS (SELECT FROM spend_rollup)",
            {"since": since},
        )
        return bool(cursor.fetchone()[0])


def waiting_for(keys: Sequence[tuple[str, str]]) -> list[Stored]:
    """Return the rows of the inbox that belong to the calls (gateway, request id)."""
    if not keys:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT seq, xid::text, {', '.join(COLUMNS)} FROM usage_inbox"  # noqa: S608  fixed names
            f" WHERE {_AMONG} ORDER BY seq",
            [list(part) for part in zip(*keys, strict=True)],
        )
        return [Stored(row[0], int(row[1]), Entry(*row[2:])) for row in cursor.fetchall()]


def size() -> int:
    """Return how many rows wait in the inbox."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM usage_inbox")
        return int(cursor.fetchone()[0])


_LIST = ", ".join(COLUMNS)
# The sums of a batch stay in memory.
_MEMORY = "SET LOCAL work_mem = '64MB'"
_MOVE = f"""
    WITH batch AS (
        DELETE FROM usage_inbox WHERE seq = ANY(%s) RETURNING {_LIST}
    ), booked AS (
        INSERT INTO ledger ({_LIST}) SELECT {_LIST} FROM batch
    ), rolled AS (
        INSERT INTO spend_rollup AS r (scope_key, day, model, calls, failed, cancelled, input_tokens,
                                       cached_input_tokens, output_tokens, spend)
        SELECT * FROM (
            SELECT {SCOPE_OF_GROUP} AS scope_key, day, model, sum(calls),
                   coalesce(sum(calls) FILTER (WHERE status = 'failed'), 0),
                   coalesce(sum(calls) FILTER (WHERE status = 'cancelled'), 0),
                   sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), sum(spend)
              FROM batch GROUP BY day, model, {GROUPS_OF_SCOPES}
        ) AS sums WHERE scope_key IS NOT NULL ORDER BY scope_key, day, model
        ON CONFLICT (scope_key, day, model) DO UPDATE SET
            calls = r.calls + excluded.calls,
            failed = r.failed + excluded.failed,
            cancelled = r.cancelled + excluded.cancelled,
            input_tokens = r.input_tokens + excluded.input_tokens,
            cached_input_tokens = r.cached_input_tokens + excluded.cached_input_tokens,
            output_tokens = r.output_tokens + excluded.output_tokens,
            spend = r.spend + excluded.spend
    ), touched AS (
        INSERT INTO spend_touched (project) SELECT DISTINCT project FROM batch
    ), sorted_by AS (
        UPDATE credential_month AS m
           SET first = l.first, spend = l.spend + CASE WHEN m.first = l.first THEN m.spend ELSE 0 END
          FROM (SELECT DISTINCT ON (credential) credential, date_trunc('month', day)::date AS first, sum(spend) AS spend
                  FROM batch GROUP BY 1, 2 ORDER BY 1, 2 DESC) AS l
         WHERE m.credential = l.credential AND m.first <= l.first
    ), of_people AS (
        UPDATE person_standing AS s
           SET first = l.first, spend = l.spend + CASE WHEN s.first = l.first THEN s.spend ELSE 0 END
          FROM (SELECT DISTINCT ON (person) person, date_trunc('month', day)::date AS first, sum(spend) AS spend
                  FROM batch WHERE person IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2 DESC) AS l
         WHERE s.person_id = l.person AND s.first <= l.first
    ), counted AS (
        INSERT INTO call_minute AS m (minute, served, failed)
        SELECT date_trunc('minute', moment), coalesce(sum(calls) FILTER (WHERE status <> 'failed'), 0),
               coalesce(sum(calls) FILTER (WHERE status = 'failed'), 0)
          FROM batch WHERE moment >= now() - interval '2 hours' GROUP BY 1 ORDER BY 1
        ON CONFLICT (minute) DO UPDATE SET served = m.served + excluded.served, failed = m.failed + excluded.failed
    )
    SELECT count(*) FROM batch
"""  # noqa: S608  fixed names


@transaction.atomic
def move(rows: Sequence[Stored]) -> int:
    """Move the rows from the inbox to ledger and roll-ups in one statement; return how many moved.

    One mover at a time: whoever comes second moves nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_MOVE_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(_MEMORY)
        cursor.execute(_MOVE, [[row.seq for row in rows]])
        return int(cursor.fetchone()[0])


def _key(entry: Entry) -> tuple[str, str]:
    return entry.gateway, entry.request_id


def _find(entry_id: UUID, moment: datetime) -> Entry | None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_LIST} FROM usage_inbox WHERE id = %(id)s"  # noqa: S608  fixed names
            f" UNION ALL SELECT {_LIST} FROM ledger WHERE moment = %(moment)s AND id = %(id)s",
            {"id": entry_id, "moment": moment},
        )
        row = cursor.fetchone()
    return Entry(*row) if row else None

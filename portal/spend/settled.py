"""What has been settled: ledger and inbox, read in one snapshot through roll-ups by scope and local day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from django.db import connection

from portal.lib.windows import Window, next_day

# Every scope one row counts in; the same grammar as portal.spend.scopes.
SCOPES_OF_ROW = """
    (VALUES ('o'),
            ('g:' || {row}.group_id),
            ('p:' || {row}.project),
            ('pg:' || {row}.project || ':' || {row}.draws_on),
            ('pu:' || {row}.project || ':' || {row}.person),
            ('u:' || {row}.person),
            ('c:' || {row}.credential)) AS scope (scope_key)
"""
# The same scopes for rows summed together; a scope that a row is not in has no key.
GROUPS_OF_SCOPES = """
    GROUPING SETS ((), (group_id), (project), (project, draws_on), (project, person), (person), (credential))
"""
SCOPE_OF_GROUP = """
    CASE WHEN grouping(group_id) = 0 THEN 'g:' || group_id
         WHEN grouping(draws_on) = 0 THEN 'pg:' || project || ':' || draws_on
         WHEN grouping(project, person) = 0 THEN 'pu:' || project || ':' || person
         WHEN grouping(project) = 0 THEN 'p:' || project
         WHEN grouping(person) = 0 THEN 'u:' || person
         WHEN grouping(credential) = 0 THEN 'c:' || credential
         ELSE 'o' END
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A Postgres snapshot: it has seen every transaction below ``xmax`` but those in ``running``."""

    xmax: int
    running: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """What one scope used of one model between two local days."""

    scope_key: str
    model: str
    calls: int
    tokens: int
    spend: int

    def of(self, metric: str) -> int:
        """Return the amount of the metric."""
        return {"spend": self.spend, "requests": self.calls, "tokens": self.tokens}[metric]


def snapshot() -> Snapshot:
    """Return the snapshot of the current transaction, which must be REPEATABLE READ to stay the same."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text")
        _, xmax, running = cursor.fetchone()[0].split(":")
    return Snapshot(int(xmax), tuple(int(xid) for xid in running.split(",") if xid))


_SUMS = f"""
    SELECT scope_key, model, sum(calls)::bigint, sum(tokens)::bigint, sum(spend) FROM (
        SELECT scope_key, model, calls, input_tokens + output_tokens AS tokens, spend
          FROM spend_rollup WHERE day >= %(first)s AND day < %(last)s AND ({{match}})
        UNION ALL
        SELECT scope.scope_key, i.model, i.calls, i.input_tokens + i.output_tokens, i.spend
          FROM usage_inbox AS i CROSS JOIN LATERAL {SCOPES_OF_ROW.format(row="i")}
         WHERE i.day >= %(first)s AND i.day < %(last)s AND scope.scope_key IS NOT NULL AND ({{match}})
    ) AS used GROUP BY scope_key, model
"""  # noqa: S608  fixed names


# The match is one hash table of keys, however many there are.
_SUMS_OF_SCOPES = _SUMS.format(match="scope_key = ANY(%(keys)s)")
_SUMS_OF_EACH = _SUMS.format(match="regexp_replace(scope_key, '[^:]*$', '*') = ANY(%(keys)s)")


def sums(scope_keys: Iterable[str], first: date, last: date) -> list[Sum]:
    """Return what the scopes used on the local days ``first <= day < last``, by scope and model.

    A key that ends in ``:*`` stands for every user in it. Settled = ledger + inbox: read it in one transaction with
    REPEATABLE READ when it has to agree with a `snapshot`.
    """
    keys = set(scope_keys)
    each = sorted(key for key in keys if key.endswith(":*"))
    found: dict[tuple[str, str], Sum] = {}
    with connection.cursor() as cursor:
        for statement, part in ((_SUMS_OF_SCOPES, sorted(keys.difference(each))), (_SUMS_OF_EACH, each)):
            if part:
                cursor.execute(statement, {"first": first, "last": last, "keys": part})
                for row in cursor.fetchall():
                    # Sums of money outgrow a bigint; they come as exact decimals.
                    found[row[0], row[1]] = Sum(row[0], row[1], row[2], row[3], int(row[4]))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Typical:
    """What nineteen of twenty calls do not exceed."""

    input_tokens: int
    output_tokens: int
    spend: int


# Fewer calls than this say nothing about what is typical.
_ENOUGH = 20


def typical(project: int, model: str, since: datetime) -> Typical | None:
    """Return the 95th percentile of the project's calls to the model since the moment, or None for too few."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), percentile_disc(0.95) WITHIN GROUP (ORDER BY input_tokens),"
            " percentile_disc(0.95) WITHIN GROUP (ORDER BY output_tokens),"
            " percentile_disc(0.95) WITHIN GROUP (ORDER BY spend)"
            " FROM ledger WHERE project = %s AND model = %s AND moment >= %s AND kind = 'settle'",
            [project, model, since],
        )
        calls, *amounts = cursor.fetchone()
    return Typical(*amounts) if calls >= _ENOUGH else None


def matches(model_filter: str, model: str) -> bool:
    """Whether a limit's model filter (empty, a name or ``prefix*``) applies to the model."""
    if not model_filter or model_filter == model:
        return True
    return model_filter.endswith("*") and model.startswith(model_filter[:-1])


@dataclass(frozen=True, slots=True)
class LimitKey:
    """What identifies a limit: scope, metric, window, model filter."""

    scope_key: str
    metric: str
    window: str
    model: str

    def counter(self, scope_key: str) -> str:
        """Return the key of the counter in Valkey for the scope (for an each-user limit: of one user)."""
        return f"k:{scope_key}|{self.metric}|{self.window}|{self.model}"


_JUST_USED = f"""
    WITH used AS MATERIALIZED (
        SELECT DISTINCT {SCOPE_OF_GROUP} AS scope_key FROM ledger WHERE moment >= %(since)s GROUP BY {GROUPS_OF_SCOPES}
    )
    SELECT scope_key, metric, "window", model FROM spend_limit
     WHERE "window" IN ('day', 'week', 'month') AND scope_key IN (
           SELECT scope_key FROM used UNION SELECT regexp_replace(scope_key, '[^:]*$', '*') FROM used)
     LIMIT %(most)s
"""  # noqa: S608  fixed names


def just_used(since: datetime, most: int) -> list[LimitKey]:
    """Return up to ``most`` calendar limits that count calls of since the moment."""
    with connection.cursor() as cursor:
        cursor.execute(_JUST_USED, {"since": since, "most": most})
        return [LimitKey(*row) for row in cursor.fetchall()]


def settled(limits: Iterable[LimitKey], windows: dict[str, Window]) -> dict[str, tuple[LimitKey, int, int]]:
    """Return for every calendar counter of the limits ``(limit, window start, settled amount)`` by counter key.

    A limit of a named scope always has its counter; an each-user limit has one for each user with usage.
    """
    found: dict[str, tuple[LimitKey, int, int]] = {}
    for kind, window in windows.items():
        of_kind = [limit for limit in limits if limit.window == kind]
        if not of_kind:
            continue
        used = sums({limit.scope_key for limit in of_kind}, window.first, next_day(kind, window.first))
        by_scope: dict[str, list[Sum]] = {}
        users: dict[str, list[str]] = {}
        for row in used:
            if row.scope_key not in by_scope:
                by_scope[row.scope_key] = []
                users.setdefault(f"{row.scope_key.rpartition(':')[0]}:*", []).append(row.scope_key)
            by_scope[row.scope_key].append(row)
        for limit in of_kind:
            is_each = limit.scope_key.endswith(":*")
            scopes = users.get(limit.scope_key, []) if is_each else [limit.scope_key]
            for scope_key in scopes:
                amount = sum(
                    row.of(limit.metric)
                    for row in by_scope.get(scope_key, [])
                    if matches(limit.model, row.model)
                )
                found[limit.counter(scope_key)] = (limit, window.start, amount)
    return found

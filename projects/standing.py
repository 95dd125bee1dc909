"""Where every project stands: one row each with all that lists sort and filter by, so that they cost the same with
100 projects and with 100,000. What a page shows of spend it reads from the roll-ups; the order comes from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import QuerySet

from portal.lib import windows
from portal.organization.selectors import current as current_organization
from portal.spend import touched
from portal.spend.selectors import calendar
from projects.models import Project, ProjectStanding, ProjectTotal

_LOCK = 7345011
_BATCH = 1000

# A row is out of date at the latest when the day ends, a credential expires, or one has a week left.
_WORKS = "revoked IS NULL AND suspended IS NULL AND (expires IS NULL OR expires > now())"
_CREDENTIALS = f"""
          SELECT count(*) FILTER (WHERE {_WORKS}) AS working, max(last_used) AS used,
                 count(*) FILTER (WHERE {_WORKS} AND last_used >= %(began)s) AS used_today,
                 count(*) FILTER (WHERE {_WORKS} AND expires < now() + interval '7 days') AS ending,
                 least(min(expires) FILTER (WHERE {_WORKS}),
                       min(expires - interval '7 days')
                           FILTER (WHERE {_WORKS} AND expires >= now() + interval '7 days')) AS changes"""
_SUMS = {
    "projects": "count(*)",
    "near": "count(*) FILTER (WHERE share >= 800 AND share < 1000)",
    "blocked": "count(*) FILTER (WHERE share >= 1000)",
    "without_limit": "count(*) FILTER (WHERE share < 0)",
    **{name: f"coalesce(sum({name}), 0)" for name in ("today", "month", "tokens", "keys")},
    **{f"{name}s": f"coalesce(sum({name}), 0)" for name in ("day_limit", "month_limit")},
    **{f"{kind}_{what}": f"coalesce(sum({kind}_{what}), 0)"
       for kind in ("tokens", "keys") for what in ("used", "ending")},
}  # fmt: skip
_ADDED = ", ".join(f"{sql} AS {name}" for name, sql in _SUMS.items())
_TAKEN = ", ".join(f"-{name} AS {name}" for name in _SUMS)
_NAMES = ", ".join(_SUMS)
# The totals change by what the rows were and are: nobody ever adds up all of them.
_TOTALS = f"""
    INSERT INTO project_total AS t (state, {_NAMES})
    SELECT state, {", ".join(f"sum({name})" for name in _SUMS)} FROM ({{changes}}) AS changes GROUP BY state
    ON CONFLICT (state) DO UPDATE SET {", ".join(f"{name} = t.{name} + excluded.{name}" for name in _SUMS)}
"""  # noqa: S608
_BEFORE = f"SELECT state, {_TAKEN} FROM (SELECT state, {_ADDED} FROM {{rows}} GROUP BY state) AS before"  # noqa: S608
_AFTER = f"SELECT state, {_ADDED} FROM written GROUP BY state"  # noqa: S608
_REFRESH = f"""
    WITH written AS (
    INSERT INTO project_standing AS s (project_id, state, day, today, month, day_limit, month_limit, share, tokens,
        tokens_used, tokens_ending, keys, keys_used, keys_ending, last_used, group_name, owner_name, stale_from)
    SELECT p.id, p.state, %(today)s, coalesce(used.today, 0), coalesce(used.month, 0), held.day, held.month,
           least(greatest(
               CASE WHEN held.day IS NULL THEN -1 WHEN held.day = 0 THEN 1000
                    ELSE trunc(coalesce(used.today, 0) * 1000 / held.day) END,
               CASE WHEN held.month IS NULL THEN -1 WHEN held.month = 0 THEN 1000
                    ELSE trunc(coalesce(used.month, 0) * 1000 / held.month) END), 1000000)::integer,
           tokens.working, tokens.used_today, tokens.ending, keys.working, keys.used_today, keys.ending,
           greatest(tokens.used, keys.used, 'epoch'::timestamptz),
           coalesce(g.name, ''), coalesce(owner.name, ''),
           least(%(ends)s, tokens.changes, keys.changes)
      FROM project AS p
      LEFT JOIN "group" AS g ON g.id = p.group_id
      LEFT JOIN LATERAL (
          SELECT coalesce(sum(spend) FILTER (WHERE day = %(today)s), 0) AS today, sum(spend) AS month
            FROM spend_rollup WHERE scope_key = 'p:' || p.id AND day >= %(first)s AND day < %(after)s
      ) AS used ON true
      LEFT JOIN LATERAL (
          SELECT max(amount) FILTER (WHERE "window" = 'day') AS day,
                 max(amount) FILTER (WHERE "window" = 'month') AS month
            FROM spend_limit WHERE scope_key = 'p:' || p.id AND metric = 'spend' AND model = '' AND mode = 'enforce'
      ) AS held ON true
      LEFT JOIN LATERAL ({_CREDENTIALS} FROM user_token WHERE project_id = p.id) AS tokens ON true
      LEFT JOIN LATERAL ({_CREDENTIALS} FROM api_key WHERE project_id = p.id) AS keys ON true
      LEFT JOIN LATERAL (
          SELECT person.name FROM project_membership AS m JOIN accounts_person AS person ON person.id = m.person_id
           WHERE m.project_id = p.id AND m.role = 'owner' ORDER BY m.added, m.id LIMIT 1
      ) AS owner ON true
     WHERE p.id = ANY(%(ids)s) ORDER BY p.id
    ON CONFLICT (project_id) DO UPDATE SET
        state = excluded.state, day = excluded.day, today = excluded.today, month = excluded.month,
        day_limit = excluded.day_limit, month_limit = excluded.month_limit, share = excluded.share,
        tokens = excluded.tokens, tokens_used = excluded.tokens_used, tokens_ending = excluded.tokens_ending,
        keys = excluded.keys, keys_used = excluded.keys_used, keys_ending = excluded.keys_ending,
        last_used = excluded.last_used, group_name = excluded.group_name, owner_name = excluded.owner_name,
        stale_from = excluded.stale_from
    RETURNING *
    )
""" + _TOTALS.format(  # noqa: S608
    changes=_BEFORE.format(rows="project_standing WHERE project_id = ANY(%(ids)s)") + " UNION ALL " + _AFTER
)
_FORGET = (
    "WITH gone AS (DELETE FROM project_standing WHERE project_id = ANY(%s) RETURNING *)"  # noqa: S608
    + _TOTALS.format(changes=_BEFORE.format(rows="gone"))
)


def touch(project_ids: Sequence[int]) -> None:
    """Queue projects whose standing changes with the current transaction."""
    touched.touch(project_ids)


def forget(project_ids: Sequence[int]) -> None:
    """Take projects out of the lists, in the transaction that deletes them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(_FORGET, [list(project_ids)])


@dataclass(frozen=True, slots=True)
class Totals:
    """Projects of one state together: how many, how near their limits (80 %, all of it), amounts and credentials."""

    projects: int = 0
    near: int = 0
    blocked: int = 0
    without_limit: int = 0
    today: int = 0
    month: int = 0
    tokens: int = 0
    keys: int = 0
    day_limits: int = 0
    month_limits: int = 0
    tokens_used: int = 0
    tokens_ending: int = 0
    keys_used: int = 0
    keys_ending: int = 0


def totals(rows: QuerySet[ProjectStanding] | None = None) -> dict[str, Totals]:
    """Return the totals by state, of the rows or of every project; a state without projects has zeros."""
    if rows is None:
        found = {total.state: total for total in ProjectTotal.objects.all()}
        read = {state: {name: int(getattr(total, name)) for name in _SUMS} for state, total in found.items()}
    else:
        keys = rows.select_related(None).order_by().values("pk")
        sql, parameters = keys.query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT state, {_ADDED} FROM project_standing WHERE project_id IN ({sql}) GROUP BY state",  # noqa: S608
                parameters,
            )
            read = {row[0]: dict(zip(_SUMS, map(int, row[1:]), strict=True)) for row in cursor.fetchall()}
    return {state: Totals(**read.get(state, {})) for state in Project.State.values}


def catch_up(most: int = _BATCH) -> int:
    """Bring up to ``most`` of the queued projects up to date, if nobody is doing so; return how many."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            # One at a time, and each statement after this one reads anew: an older reading never comes last.
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
            if not cursor.fetchone()[0]:
                return 0
        ids = touched.take(most)
        _refresh(ids)
    return len(ids)


def catch_up_with_time(batch: int = _BATCH, most: int = 100_000) -> int:
    """Bring up to date what was queued, and what the end of a day or of a credential has changed."""
    done = 0
    while done < most:
        count = catch_up(batch) or _overdue(batch)
        if not count:
            break
        done += count
    return done


def _overdue(batch: int) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(
            "SELECT project_id FROM project_standing WHERE stale_from <= now() ORDER BY stale_from LIMIT %s",
            [batch],
        )
        ids = [row[0] for row in cursor.fetchall()]
        _refresh(ids)
    return len(ids)


def _refresh(ids: Sequence[int]) -> None:
    if not ids:
        return
    now = calendar(current_organization().zone)
    with connection.cursor() as cursor:
        cursor.execute(
            _REFRESH,
            {
                "ids": list(ids),
                "today": now.today,
                "began": windows.to_datetime(windows.midnight(now.today, now.zone)),
                "first": now.first,
                "after": now.after,
                "ends": now.ends,
            },
        )

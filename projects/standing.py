"""Where every project stands: one row each with all that lists sort and filter by, so that they cost the same with
100 projects and with 100,000. What a page shows of spend it reads from the roll-ups; the order comes from here.
"""

from collections.abc import Sequence

from django.db import connection, transaction

from portal.organization.selectors import current as current_organization
from portal.spend import touched
from portal.spend.selectors import calendar

_LOCK = 7345011
_BATCH = 1000

# A row is out of date at the latest when the day ends or a credential of the project expires.
_REFRESH = """
    INSERT INTO project_standing AS s (project_id, day, today, month, day_limit, month_limit, share, tokens, keys,
                                       last_used, group_name, owner_name, stale_from)
    SELECT p.id, %(today)s, coalesce(used.today, 0), coalesce(used.month, 0), held.day, held.month,
           least(greatest(
               CASE WHEN held.day IS NULL THEN -1 WHEN held.day = 0 THEN 1000
                    ELSE trunc(coalesce(used.today, 0) * 1000 / held.day) END,
               CASE WHEN held.month IS NULL THEN -1 WHEN held.month = 0 THEN 1000
                    ELSE trunc(coalesce(used.month, 0) * 1000 / held.month) END), 1000000)::integer,
           tokens.working, keys.working,
           greatest(tokens.used, keys.used, 'epoch'::timestamptz),
           coalesce(g.name, ''), coalesce(owner.name, ''),
           least(%(ends)s, tokens.ends, keys.ends)
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
      LEFT JOIN LATERAL (
          SELECT count(*) FILTER (WHERE {works}) AS working, max(last_used) AS used,
                 min(expires) FILTER (WHERE {works}) AS ends FROM user_token WHERE project_id = p.id
      ) AS tokens ON true
      LEFT JOIN LATERAL (
          SELECT count(*) FILTER (WHERE {works}) AS working, max(last_used) AS used,
                 min(expires) FILTER (WHERE {works}) AS ends FROM api_key WHERE project_id = p.id
      ) AS keys ON true
      LEFT JOIN LATERAL (
          SELECT person.name FROM project_membership AS m JOIN accounts_person AS person ON person.id = m.person_id
           WHERE m.project_id = p.id AND m.role = 'owner' ORDER BY m.added, m.id LIMIT 1
      ) AS owner ON true
     WHERE p.id = ANY(%(ids)s) ORDER BY p.id
    ON CONFLICT (project_id) DO UPDATE SET
        day = excluded.day, today = excluded.today, month = excluded.month, day_limit = excluded.day_limit,
        month_limit = excluded.month_limit, share = excluded.share, tokens = excluded.tokens, keys = excluded.keys,
        last_used = excluded.last_used, group_name = excluded.group_name, owner_name = excluded.owner_name,
        stale_from = excluded.stale_from
""".format(works="revoked IS NULL AND suspended IS NULL AND (expires IS NULL OR expires > now())")  # noqa: S608  fixed texts


def touch(project_ids: Sequence[int]) -> None:
    """Queue projects whose standing changes with the current transaction."""
    touched.touch(project_ids)


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
            {"ids": list(ids), "today": now.today, "first": now.first, "after": now.after, "ends": now.ends},
        )

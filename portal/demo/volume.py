"""A portal of the size of a large company, made by a few statements: what pages and checks are measured with.

Its credentials have no secret anybody knows: nothing can call with them.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction

from portal.decision import rebuild
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.spend.selectors import calendar
from projects import standing
from projects.models import Project

CODE = "volume"
_PEOPLE_PER_PROJECT = 5  # one person for so many projects
_GROUP_SIZE = 500  # projects
# Of these, every project is used on one day in three.
_EVERY = 3
_MODELS = ("claude-sonnet-4-5", "gpt-5-mini", "claude-haiku-4-5")


@dataclass(frozen=True, slots=True)
class Size:
    """How much to make. User tokens and API keys come to ``credentials`` together, one key for nine tokens."""

    projects: int = 100_000
    credentials: int = 1_000_000
    days: int = 31


_GROUPS = """
    INSERT INTO "group" (code, name, created, is_missing)
    SELECT %(code)s || '-' || i, 'Volume group ' || i, now(), false FROM generate_series(1, %(groups)s) AS i
"""
_PEOPLE = """
    INSERT INTO accounts_person (name, email, is_active, created, session_epoch)
    SELECT 'Volume person ' || i, 'volume-' || i || '@example.com', true, now(), 0
      FROM generate_series(1, %(people)s) AS i
"""
_PROJECTS = """
    INSERT INTO project (code, name, description, group_id, state, cost_centre, created)
    SELECT %(code)s || '-' || lpad(i::text, 7, '0'), (ARRAY['Claims', 'Fraud', 'Contract', 'Voice', 'Search', 'Risk',
               'Onboarding', 'Payments', 'Treasury', 'Support'])[1 + i %% 10] || ' ' || i, '',
           %(first_group)s + i %% %(groups)s,
           CASE WHEN i %% 50 = 0 THEN 'paused' WHEN i %% 75 = 0 THEN 'archived' ELSE 'active' END,
           'CC-' || i %% 900, now() - i * interval '7 minutes'
      FROM generate_series(1, %(projects)s) AS i
"""
_MEMBERS = """
    INSERT INTO project_membership (project_id, person_id, role, added)
    SELECT %(first_project)s + i - 1, %(first_person)s + (i * 31 + k * 7) %% %(people)s,
           CASE WHEN k = 0 THEN 'owner' ELSE 'member' END, now()
      FROM generate_series(1, %(projects)s) AS i, generate_series(0, 2) AS k ON CONFLICT DO NOTHING
"""
_TOKENS = """
    INSERT INTO user_token (key_id, pepper_id, digest, hint, created, created_by, expires, last_used, name,
                            person_id, project_id)
    SELECT 'vt' || lpad(i::text, 10, '0'), 1, sha256(i::text::bytea), 'llmgw_ut_vt' || lpad(i::text, 10, '0') || '…' ||
               right(md5(i::text), 4), now() - i %% 80 * interval '1 day', 'volume',
           now() + (i %% 120 - 20) * interval '1 day',
           CASE WHEN i %% 4 > 0 THEN now() - i %% 50000 * interval '1 minute' END,
           'Token ' || i, m.person_id, m.project_id
      FROM generate_series(1, %(tokens)s) AS i
      JOIN project_membership AS m ON m.id = %(first_member)s + (i - 1) %% %(members)s
"""
_KEYS = """
    INSERT INTO api_key (key_id, pepper_id, digest, hint, created, created_by, expires, last_used, name, project_id)
    SELECT 'vk' || lpad(i::text, 10, '0'), 1, sha256(i::text::bytea), 'llmgw_ak_vk' || lpad(i::text, 10, '0') || '…' ||
               right(md5(i::text), 4), now() - i %% 300 * interval '1 day', 'volume',
           now() + (i %% 365 - 10) * interval '1 day', now() - i %% 90000 * interval '1 minute',
           'Service ' || i, %(first_project)s + i %% %(projects)s
      FROM generate_series(1, %(keys)s) AS i
"""
_LIMITS = """
    INSERT INTO spend_limit (scope_key, metric, "window", model, mode, amount, changed, changed_by)
    SELECT 'p:' || %(first_project)s + i - 1, 'spend', w.name, '', 'enforce',
           w.nano::bigint * (1 + i %% 97), now(), 'volume'
      FROM generate_series(1, %(projects)s) AS i, (VALUES ('day', 400000000), ('month', 2000000000)) AS w (name, nano)
"""
_SUBJECTS = """
    INSERT INTO decision_subject (key, data, version)
    SELECT 'p:' || id, jsonb_build_object('code', code, 'name', name, 'state', state, 'group', group_id,
               'models', NULL), nextval('decision_version_seq') FROM project WHERE id >= %(first_project)s
    UNION ALL
    SELECT 'l:p:' || p.id, jsonb_build_object('label', 'Project ' || p.name, 'limits', (
               SELECT jsonb_agg(jsonb_build_array(metric, "window", model, mode, amount / 1000000000,
                          amount %% 1000000000) ORDER BY metric, "window", model)
                 FROM spend_limit WHERE scope_key = 'p:' || p.id)), nextval('decision_version_seq')
      FROM project AS p WHERE p.id >= %(first_project)s
"""
# One row stands for the calls of a project on a day: the ledger allows several calls in one row.
_LEDGER = """
    INSERT INTO ledger (id, moment, day, kind, gateway, request_id, credential, project, group_id, person, model,
                        status, calls, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens,
                        reasoning_tokens, spend, is_late, is_restated, occurred, arrived)
    SELECT md5(%(day)s::date || '/' || t.id)::uuid, %(moment)s, %(day)s, 'settle', 'volume',
           t.id || '/' || %(day)s::date, t.key_id, t.project_id, p.group_id, t.person_id,
           (%(models)s::text[])[1 + t.id %% 3], 'ok', 1 + t.id %% 40, 1000 + t.id %% 9000, 0, 0, 200 + t.id %% 900, 0,
           1000000 + t.id * 7919 %% 90000000, false, false, %(moment)s, %(moment)s
      FROM user_token AS t JOIN project AS p ON p.id = t.project_id
     WHERE t.key_id LIKE 'vt%%' AND t.id < %(first_token)s + %(members)s AND (t.id + %(number)s) %% %(every)s = 0
"""
_ROLLUP = """
    INSERT INTO spend_rollup AS r (scope_key, day, model, calls, failed, cancelled, input_tokens, cached_input_tokens,
                                   output_tokens, spend)
    SELECT scope.scope_key, l.day, l.model, sum(l.calls), 0, 0, sum(l.input_tokens), 0, sum(l.output_tokens),
           sum(l.spend)
      FROM ledger AS l CROSS JOIN LATERAL (VALUES ('o'), ('g:' || l.group_id), ('p:' || l.project),
           ('pu:' || l.project || ':' || l.person), ('u:' || l.person), ('c:' || l.credential)) AS scope (scope_key)
     WHERE l.moment = %(moment)s AND l.gateway = 'volume' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (scope_key, day, model) DO UPDATE SET calls = r.calls + excluded.calls,
        input_tokens = r.input_tokens + excluded.input_tokens, output_tokens = r.output_tokens + excluded.output_tokens,
        spend = r.spend + excluded.spend
"""
_MONTHS = """
    UPDATE credential_month AS m SET first = used.first, spend = used.spend
      FROM (SELECT DISTINCT ON (scope_key) scope_key, date_trunc('month', day)::date AS first, sum(spend) AS spend
              FROM spend_rollup WHERE scope_key LIKE 'c:v%%' GROUP BY 1, 2 ORDER BY 1, 2 DESC) AS used
     WHERE used.scope_key = 'c:' || m.credential
"""

_MONTHS_OF_PEOPLE = """
    UPDATE person_standing AS s SET first = used.first, spend = used.spend
      FROM (SELECT DISTINCT ON (scope_key) scope_key, date_trunc('month', day)::date AS first, sum(spend) AS spend
              FROM spend_rollup WHERE scope_key LIKE 'u:%%' GROUP BY 1, 2 ORDER BY 1, 2 DESC) AS used
     WHERE used.scope_key = 'u:' || s.person_id
"""


def load(size: Size) -> None:
    """Make projects with groups, owners, members, limits, credentials and usage up to now.

    Raise RuleBroken where such projects are already.
    """
    if Project.objects.filter(code__startswith=f"{CODE}-").exists():
        raise RuleBroken("The projects are there already.")
    _run("SET statement_timeout = 0", {})  # for this connection: a statement here takes as long as it takes
    keys = size.credentials // 10
    wanted: dict[str, Any] = {
        "code": CODE,
        "projects": size.projects,
        "groups": max(60, size.projects // _GROUP_SIZE),
        "people": max(60, size.projects // _PEOPLE_PER_PROJECT),
        "tokens": size.credentials - keys,
        "keys": keys,
    }
    with transaction.atomic():
        _run(_GROUPS, wanted)
        wanted["first_group"] = _first('"group"', wanted["groups"])
        _run(_PEOPLE, wanted)
        wanted["first_person"] = _first("accounts_person", wanted["people"])
        _run(_PROJECTS, wanted)
        wanted["first_project"] = _first("project", size.projects)
        before = _last("project_membership")
        _run(_MEMBERS, wanted)
        wanted["first_member"], wanted["members"] = _range("project_membership", before)
        before = _last("user_token")
        _run(_TOKENS, wanted)
        wanted["first_token"] = before + 1
        _run(_KEYS, wanted)
        _run(_LIMITS, wanted)
        _run(_SUBJECTS, wanted)
    _usage(wanted, size.days)
    _run(_MONTHS, wanted)
    _run(_MONTHS_OF_PEOPLE, wanted)
    _run("INSERT INTO spend_touched (project) SELECT id FROM project WHERE id >= %(first_project)s", wanted)
    _run("ANALYZE", {})
    standing.catch_up_with_time(batch=10_000, most=size.projects + 1000)
    _run("ANALYZE project_standing", {})
    rebuild.rebuild("volume")


def _usage(wanted: dict[str, Any], days: int) -> None:
    now = calendar(current_organization().zone)
    for number in range(days):
        parameters = wanted | {
            "day": now.today - timedelta(days=number),
            "moment": now.now - timedelta(days=number),
            "number": number,
            "every": _EVERY,
            "models": list(_MODELS),
        }
        with transaction.atomic():
            _run(_LEDGER, parameters)
            _run(_ROLLUP, parameters)


def _run(sql: str, parameters: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)


def _first(table: str, count: int) -> int:
    """Return the first id of the ``count`` rows just made: nobody else writes while they are."""
    return _last(table) - count + 1


def _last(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT coalesce(max(id), 0) FROM {table}")  # noqa: S608  fixed names
        return int(cursor.fetchone()[0])


def _range(table: str, before: int) -> tuple[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT min(id), count(*), max(id) FROM {table} WHERE id > %s", [before])  # noqa: S608
        first, count, _ = cursor.fetchone()
    return int(first), int(count)

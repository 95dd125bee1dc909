"""What decides a call, in the words of people: the chain of checks, and every limit with its numbers.

The chain is the order of the decision itself: the first check that fails is the answer. Limits come last, all of them
are looked at, and of those without room the one that resets last binds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.db import connection

from portal.decision import configuration, decider, estimate
from portal.decision.decide import Row
from portal.decision.models import Subject
from portal.lib.windows import Window, windows_at
from portal.spend.models import Limit
from portal.spend.scopes import Scope, of_call
from portal.spend.settled import matches

Outcome = Literal["passed", "failed", "not_reached"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the chain: its name, the codes it refuses with, and how people call it."""

    name: str
    codes: tuple[str, ...]
    title: str


CHECKS = (
    Check("credential_known", ("credential_unknown",), "Credential is known"),
    Check(
        "credential_active",
        ("credential_revoked", "credential_expired", "credential_suspended"),
        "Credential is not revoked, expired or suspended",
    ),
    Check("member", ("not_a_member",), "Person is still a member"),
    Check("address_allowed", ("address_not_allowed",), "Source address is allowed"),
    Check("project_active", ("project_inactive",), "Project is active"),
    Check("model_allowed", ("model_not_allowed",), "Model is allowed"),
    Check("model_priced", ("model_unpriced",), "Model has a price"),
    Check("limits", ("limit_exceeded",), "Every limit has room"),
)


def chain(code: str) -> list[tuple[Check, Outcome]]:
    """Return the checks in order with their outcome for an answer: ``allow`` or the code of a refusal."""
    failing = next((place for place, check in enumerate(CHECKS) if code in check.codes), len(CHECKS))
    return [
        (check, "passed" if place < failing else "failed" if place == failing else "not_reached")
        for place, check in enumerate(CHECKS)
    ]


def binding(rows: Iterable[Row]) -> Row | None:
    """Return the limit that binds: of those that failed the one that resets last; None when all have room."""
    return max((row for row in rows if row.failed), key=lambda row: row.resets, default=None)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would decide: ``allow`` or a code, every limit, and whether the numbers are live or from the record."""

    code: str
    rows: Sequence[Row]
    spend: int
    is_live: bool


def explain_now(key_id: str, *, model: str, input_tokens: int, max_output_tokens: int) -> Explanation:
    """Say what would decide a call at this moment, by the decider itself."""
    found = decider.explain(
        key_id, model=model, input_tokens=input_tokens, max_output_tokens=max_output_tokens
    )
    return Explanation(found.code, found.rows, found.spend, is_live=True)


def explain_at(
    key_id: str, *, model: str, at: datetime, input_tokens: int, max_output_tokens: int
) -> Explanation:
    """Say what would have decided, or will decide, a call at another moment, from the record.

    Credentials, projects, prices and limits count as they are now; usage as it was booked for the windows of the
    moment, up to it. What calls in flight held then is not on record. A sliding minute is the minute before.
    """
    config = configuration.best()
    name = config.model(model)
    price = config.price(name, int(at.timestamp() * 1000))
    amount = price and estimate.ceiling(
        price, input_tokens=input_tokens, input_bytes=None, max_output_tokens=max_output_tokens, n=1
    )
    facts = _facts(f"s:{key_id}")
    if facts is None:
        return Explanation("credential_unknown", [], 0, is_live=False)
    project = _facts(f"p:{facts['project']}") or {}
    code = _refusal(facts, project, name, at, is_priced=bool(amount))
    spend, tokens = (amount.spend, amount.tokens) if amount else (0, 0)
    keys = of_call(
        project_pk=facts["project"],
        group_pk=project.get("group"),
        person_pk=facts["person"],
        draws_on=facts["draws_on"],
        key_id=key_id,
    )
    windows = {window.kind: window for window in windows_at(at.timestamp(), config.zone)}
    asked = {"spend": spend, "tokens": tokens, "requests": 1, "concurrency": 1}
    rows = [
        _row(limit, scope_key, asked[limit.metric], windows, at) for limit, scope_key in _applying(keys, name)
    ]
    if not code and any(row.failed for row in rows):
        code = "limit_exceeded"
    return Explanation(code or "allow", rows, spend, is_live=False)


def _facts(key: str) -> dict[str, Any] | None:
    subject = Subject.objects.filter(pk=key).first()
    return subject.data if subject else None


def _refusal(
    facts: dict[str, Any], project: dict[str, Any], model: str, at: datetime, *, is_priced: bool
) -> str:
    if facts["state"] != "active":
        return f"credential_{facts['state']}"
    if facts["expires"] and facts["expires"] <= at.timestamp():
        return "credential_expired"
    if (facts.get("not_before") or 0) > at.timestamp():
        return "credential_suspended"
    if not facts["is_member"]:
        return "not_a_member"
    if project.get("state") != "active":
        return "project_inactive"
    for allowed in (project.get("models"), facts["models"]):
        if allowed is not None and not any(matches(entry, model) for entry in allowed):
            return "model_not_allowed"
    return "" if is_priced else "model_unpriced"


def _applying(keys: Sequence[str], model: str) -> list[tuple[Limit, str]]:
    """Return the limits that apply with the scope each counts in; a named user's replaces the general one."""
    general = {f"{key.rsplit(':', 1)[0]}:*": key for key in keys if key[:2] in ("u:", "pu")}
    found = Limit.objects.filter(scope_key__in=[*keys, *general]).order_by("pk")
    limits = [limit for limit in found if matches(limit.model, model)]
    named = {(limit.scope_key, limit.metric, limit.window, limit.model) for limit in limits}
    place = {key: index for index, key in enumerate(keys)}
    applying = [
        (limit, general.get(limit.scope_key, limit.scope_key))
        for limit in limits
        if (general.get(limit.scope_key), limit.metric, limit.window, limit.model) not in named
    ]
    return sorted(applying, key=lambda pair: (place[pair[1]], pair[0].metric, pair[0].window))


def _row(limit: Limit, scope_key: str, asked: int, windows: dict[str, Window], at: datetime) -> Row:
    window = windows.get(limit.window)
    until = int(at.timestamp())
    begin, resets = (window.start, window.end) if window else (until - 60, until + 60)
    used = 0 if limit.window == "none" else _used(limit, scope_key, begin, at)
    label = (_facts(f"l:{limit.scope_key}") or {}).get("label", limit.scope_key)
    return Row(
        scope_key,
        limit.metric,
        limit.window,
        limit.model,
        label,
        limit.amount,
        used,
        0,
        asked,
        0 if limit.window == "none" else resets,
        used + asked <= limit.amount,
        limit.mode == Limit.Mode.ENFORCE,
        limit.scope_key,
    )


_COLUMNS = {
    "organization": "TRUE",
    "group": "group_id = %(a)s",
    "project": "project = %(a)s",
    "project_group": "project = %(a)s AND draws_on = %(b)s",
    "project_user": "project = %(a)s AND person = %(b)s",
    "user": "person = %(a)s",
    "credential": "credential = %(key)s",
}
_METRICS = {"spend": "spend", "requests": "calls", "tokens": "input_tokens + output_tokens"}


def _used(limit: Limit, scope_key: str, begin: int, at: datetime) -> int:
    """Return what the scope used from the beginning of the window up to the moment, from ledger and inbox."""
    parts = scope_key.split(":")[1:]
    numbers = [int(part) if part.isdigit() else None for part in parts] + [None, None]
    amount, condition = _METRICS[limit.metric], _COLUMNS[Scope(scope_key).code]
    where = f"moment >= to_timestamp(%(begin)s) AND moment < %(at)s AND {condition}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT model, sum(amount) FROM (SELECT model, {amount} AS amount FROM ledger WHERE {where}"  # noqa: S608
            f" UNION ALL SELECT model, {amount} FROM usage_inbox WHERE {where}) AS used GROUP BY model",
            {"begin": begin, "at": at, "a": numbers[0], "b": numbers[1], "key": parts[-1] if parts else ""},
        )
        return sum(int(used) for model, used in cursor.fetchall() if matches(limit.model, model))

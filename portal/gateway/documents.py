"""The answers of the Gateway API as JSON documents."""

import math
import os
from functools import lru_cache
from typing import Any

from django.conf import settings

from portal.decision import configuration
from portal.decision.decide import (
    BASE,
    NUMBERS,
    Allowed,
    Described,
    Explanation,
    Frame,
    Refused,
    Row,
    Standing,
)
from portal.lib import secrets
from portal.lib.money import decimal_string
from portal.lib.problems import encode, problem
from portal.lib.windows import rfc3339
from portal.spend.scopes import Scope

# Stands where a text changes; nobody can have a name that holds it.
_PLACE = os.urandom(16).hex()
_NOUNS = {
    "spend": "spend",
    "requests": "requests",
    "tokens": "model tokens",
    "concurrency": "calls in flight",
}


def amount(metric: str, value: int) -> str | int:
    """Money is a decimal string, everything else a number."""
    return decimal_string(value) if metric == "spend" else value


def scope_name(scope_key: str, credential: str) -> str:
    """Return the scope's name in the contract; a credential is a ``token`` or an ``api_key`` by its prefix."""
    code = Scope(scope_key).code
    if code != "credential":
        return code
    return "api_key" if credential.startswith("llmgw_ak_") else "token"


def limit(row: Row, credential: str) -> dict[str, Any]:
    """One limit and what is left of it."""
    return {
        "scope": scope_name(row.scope, credential),
        "metric": row.metric,
        "window": row.window,
        "limit": amount(row.metric, row.limit),
        "used": amount(row.metric, row.used),
        "remaining": amount(row.metric, row.remaining),
        "resets_at": rfc3339(row.resets) if row.resets else None,
    }


def failure_policy() -> dict[str, str]:
    """What the gateway is to do with calls while nobody can decide; it remembers what it received last."""
    mode, amount = configuration.failure()
    return {"mode": mode, "amount": decimal_string(amount)}


@lru_cache(maxsize=4096)
def _template(
    described: Described, frame: Frame, is_api_key: bool, failure: tuple[str, int]
) -> tuple[str, tuple[tuple[bool, bool, int, int], ...]]:
    """Return the answer with a place for each text that changes, and of each limit: money, a calendar's, its amount."""
    credential = secrets.API_KEY if is_api_key else secrets.USER_TOKEN
    document: dict[str, Any] = {
        "decision": "allow",
        **dict.fromkeys(("reservation_id", "expires_at", "reserved"), _PLACE),
        "project": described.project,
        "user": described.user,
        "credential_id": _PLACE,
        "limits": [
            {
                "scope": scope_name(row.scope, credential),
                "metric": row.metric,
                "window": row.window,
                "limit": amount(row.metric, row.limit),
                **dict.fromkeys(("used", "remaining"), _PLACE * 2 if row.metric == "spend" else [_PLACE]),
                "resets_at": rfc3339(frame.ends[row.window]) if row.window in frame.ends else [_PLACE],
            }
            for row in described.limits
        ],
        "failure_policy": {"mode": failure[0], "amount": decimal_string(failure[1])},
    }
    text = encode(document).decode().replace("%", "%%")
    text = text.replace(f'["{_PLACE}"]', "%s").replace(_PLACE, "%s")
    return text, tuple(
        (row.metric == "spend", row.window in frame.ends, *divmod(row.limit, BASE))
        for row in described.limits
    )


def allowed_json(answer: Allowed, credential: str) -> bytes:
    """Return `allowed` as JSON; filled into a template, as it is the answer to most of all requests."""
    rows = answer.rows
    if not isinstance(rows, Standing):
        return encode(allowed(answer, credential))
    is_api_key = credential.startswith(secrets.API_KEY)
    text, limits = _template(rows.described, rows.frame, is_api_key, configuration.failure())
    values: list[object] = [
        answer.reservation_id,
        rfc3339(answer.expires // 1000),
        decimal_string(answer.spend),
        answer.credential,
    ]
    unpack, add = NUMBERS.unpack_from, values.append
    for (is_money, is_of_calendar, most, most_lo), packed in zip(limits, rows.packed, strict=True):
        _, settled, settled_lo, held, held_lo, resets = unpack(packed, len(packed) - 48)
        used, used_lo = int(settled + held), int(settled_lo + held_lo)
        if used_lo >= BASE:
            used, used_lo = used + 1, used_lo - BASE
        left, left_lo = most - used, most_lo - used_lo
        if left_lo < 0:
            left, left_lo = left - 1, left_lo + BASE
        if left < 0:
            left, left_lo = 0, 0
        if is_money:
            add(used)
            add(f".{str(BASE + used_lo)[1:].rstrip('0')}" if used_lo else "")
            add(left)
            add(f".{str(BASE + left_lo)[1:].rstrip('0')}" if left_lo else "")
        else:
            add(used * BASE + used_lo)
            add(left * BASE + left_lo)
        if not is_of_calendar:
            add(f'"{rfc3339(int(resets))}"' if resets else "null")
    return (text % tuple(values)).encode()


def allowed(answer: Allowed, credential: str) -> dict[str, Any]:
    """The answer to a call that may go ahead."""
    return {
        "decision": "allow",
        "reservation_id": answer.reservation_id,
        "expires_at": rfc3339(answer.expires / 1000),
        "reserved": decimal_string(answer.spend),
        "project": answer.project,
        "user": answer.user,
        "credential_id": answer.credential,
        "limits": [limit(row, credential) for row in answer.rows],
        "failure_policy": failure_policy(),
    }


def _failed(row: Row, credential: str) -> dict[str, Any]:
    return {
        "scope": scope_name(row.scope, credential),
        "scope_name": row.label,
        "metric": row.metric,
        "window": row.window,
        **({"model": row.model} if row.model else {}),
        "limit": amount(row.metric, row.limit),
        "used": amount(row.metric, row.settled),
        "reserved": amount(row.metric, row.reserved),
        "requested": amount(row.metric, row.requested),
        "resets_at": rfc3339(row.resets) if row.resets else None,
    }


def limit_exceeded(
    answer: Refused, request_id: str, credential: str, currency: str
) -> tuple[dict[str, Any], int]:
    """Return the refusal of a call for which a limit has no room, and after how many seconds to try again."""
    binding = answer.binding
    failed = [row for row in answer.rows if row.failed]
    too_large = any(row.requested > row.limit for row in failed)
    wait = 1 if not binding.resets else max(1, math.ceil(binding.resets - answer.now / 1000))
    return problem(
        "limit_exceeded",
        detail=sentence(binding, too_large, currency),
        request_id=request_id,
        decision_id=answer.decision_id,
        explain_url=f"{settings.PORTAL_BASE_URL}/refusals/{answer.decision_id}/",
        retryable=not too_large,
        binding=_failed(binding, credential),
        failed=[_failed(row, credential) for row in failed],
    ), wait


def sentence(row: Row, too_large: bool, currency: str) -> str:
    """Say in one sentence what is exhausted, when it resets and whom to ask."""

    def show(value: int) -> str:
        return f"{decimal_string(value)} {currency}" if row.metric == "spend" else f"{value:,}"

    what = f"{row.label}: the limit of {show(row.limit)} {_NOUNS[row.metric]}"
    if row.window != "none":
        what += f" a {row.window}"
    if row.model:
        what += f" for {row.model}"
    whom = "an administrator" if row.scope == "o" else "an owner of the project or an administrator"
    if too_large:
        return f"{what} is smaller than this call could need ({show(row.requested)}); ask {whom} to raise it."
    held = f", {show(row.reserved)} of it held by calls in flight" if row.reserved else ""
    used = f"{show(row.used)} used{held}; this call needs up to {show(row.requested)}"
    when = f"it resets at {rfc3339(row.resets)}" if row.resets else "try again when a call has ended"
    return f"{what} has no room ({used}); {when}, or ask {whom} to raise it."


def me(answer: Explanation, credential: str) -> dict[str, Any]:
    """What is left for the holder of a credential."""
    return {
        "project": answer.project,
        "user": answer.user,
        "limits": [
            {**limit(row, credential), "scope_name": row.label, **({"model": row.model} if row.model else {})}
            for row in answer.rows
        ],
    }

"""Say what would decide a call."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser
from django.utils.dateparse import parse_datetime

from portal.decision.decide import Row
from portal.decision.explanation import Explanation, binding, chain, explain_at, explain_now
from portal.decision.services import shown_amount
from portal.lib.windows import rfc3339
from portal.spend.scopes import Scope
from portal.web.commands import PortalCommand, UsageError

_SIGNS = {"passed": "ok ", "failed": "NO ", "not_reached": "-  "}


class Command(PortalCommand):
    """``explain CREDENTIAL_ID --model M [--at T]``; it reserves nothing."""

    help = "Say which checks and limits would decide a call with the credential, with their numbers."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("credential", metavar="CREDENTIAL_ID")
        parser.add_argument("--model", required=True)
        parser.add_argument("--at", metavar="T", help="a moment (RFC 3339): from the record instead of live")
        parser.add_argument("--input-tokens", type=int, default=1, help="of the call asked about (default 1)")
        parser.add_argument("--max-output-tokens", type=int, default=1, help="likewise (default 1)")

    def perform(self, *, credential: str, model: str, at: str | None, **options: Any) -> int | None:
        """Explain it; an id that is not known is a finding (exit status 1)."""
        size = {
            "input_tokens": options["input_tokens"],
            "max_output_tokens": options["max_output_tokens"],
        }
        if min(size.values()) < 0:
            raise UsageError("A call has no negative number of tokens.")
        moment = _moment(at) if at else datetime.now(UTC)
        if at:
            found = explain_at(credential, model=model, at=moment, **size)
        else:
            found = explain_now(credential, model=model, **size)
        binds = binding(found.rows) if found.code == "limit_exceeded" else None
        answer = {
            "credential_id": credential,
            "model": model,
            "at": rfc3339(moment.timestamp()),
            "decision": found.code,
            "source": "live" if found.is_live else "record",
            "requested": shown_amount("spend", found.spend),
            "checks": [{"check": check.name, "outcome": outcome} for check, outcome in chain(found.code)],
            "limits": [_limit(row, is_binding=row is binds) for row in found.rows],
        }
        self.answer(answer, _text(found, binds))
        return 1 if found.code == "credential_unknown" else 0


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise UsageError(f"{text} is no moment. Write it like 2026-11-24T09:00:00Z.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _limit(row: Row, *, is_binding: bool) -> dict[str, Any]:
    amounts = {
        "limit": row.limit,
        "used": row.settled,
        "reserved": row.reserved,
        "remaining": row.remaining,
        "requested": row.requested,
    }
    return {
        "scope": Scope(row.scope).code,
        "scope_name": row.label,
        "metric": row.metric,
        "window": row.window,
        **({"model": row.model} if row.model else {}),
        **{
            name: shown_amount("spend", value) if row.metric == "spend" else value
            for name, value in amounts.items()
        },
        "resets_at": rfc3339(row.resets) if row.resets else None,
        "mode": "enforce" if row.is_enforced else "observe",
        "has_room": row.has_room,
        "binds": is_binding,
    }


def _text(found: Explanation, binds: Row | None) -> str:
    lines = [f"{_SIGNS[outcome]} {check.title}" for check, outcome in chain(found.code)]
    for row in found.rows:
        amounts = [
            shown_amount(row.metric, value) for value in (row.settled, row.reserved, row.limit, row.requested)
        ]
        window = "" if row.window == "none" else f" per {row.window}"
        note = " <- binds" if row is binds else "" if row.is_enforced else " (observe)"
        lines.append(
            f"    {'ok ' if row.has_room else 'NO '} {row.label}: {row.metric}{window}"
            f"{f' of {row.model}' if row.model else ''}: {amounts[0]} used and {amounts[1]} held of {amounts[2]};"
            f" this call needs up to {amounts[3]}{note}"
        )
    return "\n".join([*lines, "Allowed." if found.code == "allow" else f"Refused: {found.code}."])

"""Corrections: a further row that names the one it corrects; what was booked is never changed."""

from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.decision import configuration, usage
from portal.lib.errors import RuleBroken, Unavailable
from portal.lib.money import MAX_NANO
from portal.spend import inbox
from portal.spend.inbox import Stored, Totals


@dataclass(frozen=True, slots=True)
class Used:
    """What a call really used: cached and cache-write tokens are parts of the input, reasoning of the output."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


@transaction.atomic(durable=True)
def correct_usage(*, entry_id: UUID, moment: datetime, used: Used, reason: str, actor: Actor) -> None:
    """Make a settled call come to what it really used, at the price it was booked at.

    ``entry_id`` and ``moment`` name the settled row. Raise RuleBroken when there is none, without a reason, or for
    amounts that cannot be.
    """
    if min(getattr(used, field.name) for field in fields(used)) < 0:
        raise RuleBroken("A call uses no negative number of tokens.", field="input_tokens")
    if used.cached_input_tokens + used.cache_write_tokens > used.input_tokens:
        raise RuleBroken("Cached tokens are a part of the input.", field="cached_input_tokens")
    if used.reasoning_tokens > used.output_tokens:
        raise RuleBroken("Reasoning tokens are a part of the output.", field="reasoning_tokens")
    _correct(entry_id, moment, used, reason, actor)


@transaction.atomic(durable=True)
def void_usage(*, entry_id: UUID, moment: datetime, reason: str, actor: Actor) -> None:
    """Make a settled call come to nothing, also as a call."""
    _correct(entry_id, moment, None, reason, actor)


def _correct(entry_id: UUID, moment: datetime, used: Used | None, reason: str, actor: Actor) -> None:
    if not reason.strip():
        raise RuleBroken("Say why it is corrected.", field="reason")
    found = inbox.lock_call(entry_id, moment)
    if found is None:
        raise RuleBroken("There is no such usage.")
    entry, before = found
    config = configuration.of_record()
    price = config.by_id.get(entry.price_id or 0)
    if used is None:
        after = Totals(0, 0, 0, 0, 0, 0, 0)
    elif price is None:
        raise RuleBroken("The price it was booked at is not known; it can only be voided.")
    else:
        spend = price.cost(
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cached_input_tokens=used.cached_input_tokens,
            cache_write_tokens=used.cache_write_tokens,
        )
        if spend > MAX_NANO:
            raise RuleBroken("It would cost more than an amount can be.", field="input_tokens")
        after = Totals(
            1,
            used.input_tokens,
            used.cached_input_tokens,
            used.cache_write_tokens,
            used.output_tokens,
            used.reasoning_tokens,
            spend,
        )
    changed = {
        field.name: (getattr(before, field.name), getattr(after, field.name)) for field in fields(Totals)
    }
    changed = {name: pair for name, pair in changed.items() if pair[0] != pair[1]}
    if not changed:
        return
    difference = Totals(*(getattr(after, f.name) - getattr(before, f.name) for f in fields(Totals)))
    stored = inbox.add_correction(entry, difference, arrived=timezone.now())
    record(
        Action.USAGE_CORRECTED,
        actor=actor,
        target=Target("usage", str(entry.id), f"request {entry.request_id}"),
        project=entry.project,
        group=entry.group_id,
        changes=changed,
        comment=reason,
    )
    transaction.on_commit(lambda: _count([stored]))


def _count(stored: list[Stored]) -> None:
    try:
        usage.count(stored, configuration.best())
    except Unavailable:
        return  # committed is committed: the job that moves the inbox counts it

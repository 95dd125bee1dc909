"""Corrections: a further row that names the one it corrects; what was booked is never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.decision import configuration, usage
from portal.lib.errors import RuleBroken, Unavailable, refuse_if_changed
from portal.lib.money import MAX_NANO
from portal.spend import inbox
from portal.spend.inbox import Entry, Stored, Totals


@dataclass(frozen=True, slots=True)
class Used:
    """What a call really used: cached and cache-write tokens are parts of the input, reasoning of the output."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


def outcome(entry: Entry, used: Used | None, amount: int | None = None) -> Totals:
    """Return what a call would come to: by what it used at the price it was booked at, or for an amount.

    ``amount`` (nano-units) replaces the one by price; without ``used`` the call comes to nothing, also as a call.
    Raise RuleBroken for numbers that cannot be.
    """
    if used is None:
        return Totals(0, 0, 0, 0, 0, 0, 0)
    if min(getattr(used, field.name) for field in fields(used)) < 0:
        raise RuleBroken("A call uses no negative number of tokens.", field="input_tokens")
    if used.cached_input_tokens + used.cache_write_tokens > used.input_tokens:
        raise RuleBroken("Cached tokens are a part of the input.", field="cached_input_tokens")
    if used.reasoning_tokens > used.output_tokens:
        raise RuleBroken("Reasoning tokens are a part of the output.", field="reasoning_tokens")
    if amount is not None and amount < 0:
        raise RuleBroken("A call costs zero or more.", field="amount")
    price = configuration.of_record().by_id.get(entry.price_id or 0)
    if amount is None and price is None:
        raise RuleBroken("The price it was booked at is not known: enter what it cost.", field="amount")
    if amount is None and price is not None:
        amount = price.cost(
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cached_input_tokens=used.cached_input_tokens,
            cache_write_tokens=used.cache_write_tokens,
        )
    if amount is None or amount > MAX_NANO:
        raise RuleBroken("It would cost more than an amount can be.", field="input_tokens")
    return Totals(
        1,
        used.input_tokens,
        used.cached_input_tokens,
        used.cache_write_tokens,
        used.output_tokens,
        used.reasoning_tokens,
        amount,
    )


@transaction.atomic(durable=True)
def correct_usage(
    *,
    entry_id: UUID,
    moment: datetime,
    used: Used,
    reason: str,
    actor: Actor,
    amount: int | None = None,
    seen: Mapping[str, Any] | None = None,
) -> None:
    """Make a call come to what it really used, at the price it was booked at or for an amount.

    ``entry_id`` and ``moment`` name the row it is settled by, or the estimate that stands for a report: one that comes
    after all takes estimate and corrections back. ``seen`` is what the call came to when the person looked. Raise
    RuleBroken when there is no such row (any more), without a reason, or for numbers that cannot be; ChangedMeanwhile
    when it comes to something else by now.
    """
    _correct(entry_id, moment, used, amount, reason, actor, seen)


@transaction.atomic(durable=True)
def void_usage(
    *,
    entry_id: UUID,
    moment: datetime,
    reason: str,
    actor: Actor,
    seen: Mapping[str, Any] | None = None,
) -> None:
    """Make a call come to nothing, also as a call."""
    _correct(entry_id, moment, None, None, reason, actor, seen)


def _correct(
    entry_id: UUID,
    moment: datetime,
    used: Used | None,
    amount: int | None,
    reason: str,
    actor: Actor,
    seen: Mapping[str, Any] | None,
) -> None:
    if not reason.strip():
        raise RuleBroken("Say why it is corrected.", field="reason")
    found = inbox.lock_call(entry_id, moment)
    if found is None:
        raise RuleBroken(
            "There is no such usage, or the gateway has reported the call meanwhile: look again."
        )
    entry, before = found
    names = [field.name for field in fields(Totals)]
    refuse_if_changed(seen, {name: getattr(before, name) for name in names})
    after = outcome(entry, used, amount)
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in names}
    changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if not changed:
        return
    difference = Totals(*(now - then for then, now in pairs.values()))
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

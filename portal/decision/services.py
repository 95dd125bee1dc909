"""Changes of what decides: limits, prices and the organization's settings."""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import available_timezones

from django.db import connection, transaction
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.decision import subjects
from portal.decision.envelopes import WINDOWS, refuse_beyond
from portal.decision.raising import general_row, refuse_raise
from portal.lib import windows
from portal.lib.errors import RuleBroken, refuse_if_changed
from portal.lib.money import MAX_NANO, decimal_string, to_nano
from portal.organization.models import Organization
from portal.spend import inbox
from portal.spend.models import Limit, ModelAlias, Price, UnpricedModel
from portal.spend.scopes import Scope

_LIMITS_LOCK = 7345
_WINDOWS = {
    "spend": ("day", "week", "month"),
    "requests": ("minute", "day", "week", "month"),
    "tokens": ("minute", "day", "week", "month"),
    "concurrency": ("none",),
}


def stored_amount(metric: str, amount: Decimal | int | str) -> int:
    """Return a limit's amount as it is stored; raise RuleBroken with what to enter instead."""
    try:
        if metric == "spend":
            value = to_nano(amount)
        else:
            value = int(Decimal(amount))
            if value != Decimal(amount):
                raise ValueError("a whole number is needed")
    except (ValueError, ArithmeticError) as error:
        what = "an amount such as 1500 or 0.25" if metric == "spend" else "a whole number"
        raise RuleBroken(f"Enter {what}: {error}.", field="amount") from error
    if value < 0 or value > MAX_NANO:
        raise RuleBroken("Enter zero or more; zero refuses everything.", field="amount")
    return value


def shown_amount(metric: str, amount: int) -> str:
    """Return a stored amount as plain text."""
    return decimal_string(amount) if metric == "spend" else str(amount)


def lock_limits(scope_key: str) -> None:
    """Let one transaction at a time change the limits of a scope, also where it has none yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LIMITS_LOCK, scope_key])


@transaction.atomic
def set_limit(
    *,
    scope_key: str,
    label: str,
    metric: str,
    window: str,
    amount: Decimal | int | str | None,
    model: str = "",
    mode: str = "enforce",
    actor: Actor,
    project: int | None = None,
    group: int | None = None,
    reason: str = "",
    target: Target | None = None,
    most_raise: int | None = None,
    is_return: bool = False,
) -> Limit | None:
    """Set, change or (amount None) remove one limit; it holds from the commit on.

    ``label`` is how people name the scope ("Project Claims triage"). Nothing is written when nothing changes.
    ``most_raise`` is by how many percent the actor may raise it: 0 for those who only lower, None for any. One that
    comes back at the end of a raise (``is_return``) is not held against its siblings: they stood beside it before.
    """
    if window not in _WINDOWS.get(metric, ()):
        allowed = ", ".join(_WINDOWS.get(metric, ())) or "none"
        raise RuleBroken(f"A limit on {metric} takes one of these windows: {allowed}.", field="window")
    if mode not in Limit.Mode.values:
        raise RuleBroken("The mode is enforce or observe.", field="mode")
    if "\x00" in model or len(model) > 200 or "*" in model[:-1]:
        raise RuleBroken("Name one model, or a beginning that ends in *.", field="model")
    scope = Scope(scope_key)
    project = project or scope.project
    group = group or scope.group
    target = target or Target("limit", f"{scope_key}|{metric}|{window}|{model}", label)
    lock_limits(scope_key)
    identity = {"scope_key": scope_key, "metric": metric, "window": window, "model": model}
    limit = Limit.objects.select_for_update().filter(**identity).first()
    field = f"{metric} per {window}" + (f" of {model}" if model else "")
    before = None if limit is None else _described(limit)
    if most_raise is not None:
        value = None if amount is None else stored_amount(metric, amount)
        wanted = None if value is None else Limit(**identity, amount=value, mode=mode)
        refuse_raise(limit, wanted, general_row(**identity), most=most_raise)
    if amount is None:
        if limit is None:
            return None
        limit.delete()
        action, after = Action.LIMIT_REMOVED, None
    else:
        value = stored_amount(metric, amount)
        if limit is None:
            limit = Limit(**identity)
            action = Action.LIMIT_CREATED
        elif limit.amount == value and limit.mode == mode:
            return limit
        else:
            action = Action.LIMIT_CHANGED
        if metric == "spend" and window in WINDOWS and not model and mode == Limit.Mode.ENFORCE:
            held = limit.amount if action == Action.LIMIT_CHANGED and limit.mode == mode else None
            if not is_return and (held is None or value > held):
                refuse_beyond(scope_key, {window: value}, field="amount")
        limit.amount, limit.mode, limit.changed_by = value, mode, actor.display
        limit.save()
        after = _described(limit)
    subjects.put_limits(scope_key, label)
    record(
        action,
        actor=actor,
        target=target,
        project=project,
        group=group,
        changes={field: (before, after)},
        comment=reason,
    )
    return limit if amount is not None else None


def _described(limit: Limit) -> str:
    text = shown_amount(limit.metric, limit.amount)
    return text if limit.mode == "enforce" else f"{text} (observe)"


@transaction.atomic
def set_price(
    *,
    model: str,
    input: Decimal,  # noqa: A002  the name of the price's column
    output: Decimal,
    cached_input: Decimal | None = None,
    cache_write: Decimal | None = None,
    ceiling: int | None = None,
    context_window: int | None = None,
    effective: datetime | None = None,
    actor: Actor,
    reason: str = "",
) -> Price:
    """Add a price for the model, per million tokens, in force from ``effective`` (default: now) on."""
    if not model or len(model) > 200 or "\x00" in model:
        raise RuleBroken("Name the model as the gateway calls it.", field="model")
    for name, value in (
        ("input", input),
        ("output", output),
        ("cached_input", cached_input),
        ("cache_write", cache_write),
    ):
        if value is not None:
            try:
                if to_nano(value) < 0:
                    raise ValueError("negative")
            except ValueError as error:
                raise RuleBroken(f"Enter a price per million tokens: {error}.", field=name) from error
    now = timezone.now()
    if effective is not None and effective < now and inbox.has_usage(since=effective):
        raise RuleBroken(
            "A price cannot begin before usage that was already priced. Choose a later moment.",
            field="effective",
        )
    before = Price.objects.filter(model=model, effective__lte=now).order_by("-effective", "-id").first()
    price = Price.objects.create(
        model=model,
        input=input,
        output=output,
        cached_input=cached_input,
        cache_write=cache_write,
        ceiling=ceiling,
        context_window=context_window,
        effective=effective or now,
        source="entered",
        created_by=actor.display,
    )
    UnpricedModel.objects.filter(pk=model).delete()
    subjects.put_configuration()
    record(
        Action.PRICE_SET,
        actor=actor,
        target=Target("price", str(price.pk), model),
        changes={
            "input": (before and before.input, input),
            "output": (before and before.output, output),
            "effective": (before and before.effective, price.effective),
        },
        comment=reason,
    )
    return price


@transaction.atomic
def add_prices(prices: Iterable[Price], aliases: Iterable[ModelAlias], *, actor: Actor, comment: str) -> int:
    """Add imported prices and aliases in one change; return how many prices were added."""
    names = list(aliases)
    rows = Price.objects.bulk_create(list(prices), batch_size=500)
    ModelAlias.objects.bulk_create(names, ignore_conflicts=True, batch_size=500)
    if rows or names:
        priced = [row.model for row in rows] + [name.alias for name in names]
        UnpricedModel.objects.filter(pk__in=priced).delete()
        subjects.put_configuration()
        record(
            Action.PRICES_IMPORTED,
            actor=actor,
            target=Target("price_book", "1", "the price book"),
            changes={"prices": (None, len(rows)), "aliases": (None, len(names))},
            comment=comment,
        )
    return len(rows)


@transaction.atomic(durable=True)
def update_organization(
    *, actor: Actor, reason: str = "", seen: Mapping[str, Any] | None = None, **fields: Any
) -> Organization:
    """Change the settings named; the currency only before the first usage.

    A time zone holds from the next day on: the windows that are under way end as they began. Raises ChangedMeanwhile
    when one of the values in ``seen`` is no longer what the person saw.
    """
    organization, _ = Organization.objects.select_for_update().get_or_create(pk=1)
    refuse_if_changed(seen, {name: getattr(organization, name) for name in fields})
    wanted = {field.attname: getattr(organization, field.attname) for field in Organization._meta.fields}
    wanted |= fields
    zone = wanted["time_zone"]
    if zone not in available_timezones():
        raise RuleBroken("Choose an IANA time zone such as Europe/Berlin.", field="time_zone")
    if wanted["currency"] != organization.currency and inbox.has_usage():
        raise RuleBroken("The currency is fixed: usage has been booked in it.", field="currency")
    if wanted["token_days_default"] > wanted["token_days_max"]:
        raise RuleBroken("The default may not be longer than the maximum.", field="token_days_default")
    if wanted["unused_flag_days"] > wanted["unused_suspend_days"]:
        raise RuleBroken("It is flagged before it is suspended.", field="unused_flag_days")
    policy = Organization.FailurePolicy
    if wanted["failure_policy"] not in policy.values:
        raise RuleBroken("Choose one from the list.", field="failure_policy")
    if wanted["failure_policy"] == policy.OPEN and not wanted["failure_amount"]:
        raise RuleBroken("Enter the amount up to which calls are admitted.", field="failure_amount")
    fields |= _checked_numbers(fields)
    changes = {
        name: (getattr(organization, name), value)
        for name, value in fields.items()
        if getattr(organization, name) != value
    }
    if changes:
        organization.zone_history = windows.changed_zone(organization.zone, zone, time.time())
        for name, (_, after) in changes.items():
            setattr(organization, name, after)
        organization.save()
        subjects.put_configuration()
        if "name" in changes:
            subjects.relabel("o", organization.name)
        record(
            Action.ORGANIZATION_CHANGED,
            actor=actor,
            target=Target("organization", "1", organization.name),
            changes={name: _told(name, before, after) for name, (before, after) in changes.items()},
            comment=reason,
        )
    return organization


# What is a list of whole numbers: the highest that makes sense, and whether they fall.
_LISTS = {"alert_thresholds": (100, False), "reminder_days": (365, True)}
_MOST_NUMBERS = 10


def _checked_numbers(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the lists among the fields in their order, each number once."""
    found = {}
    for name, (most, falls) in _LISTS.items():
        if name not in fields:
            continue
        parts = [part.strip().removesuffix("%").strip() for part in str(fields[name]).split(",")]
        numbers = {int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 5}
        is_whole = len([part for part in parts if part]) == len([part for part in parts if part.isdigit()])
        if not is_whole or not numbers or min(numbers) < 1 or max(numbers) > most:
            raise RuleBroken(f"Enter whole numbers from 1 to {most}, with commas between.", field=name)
        if len(numbers) > _MOST_NUMBERS:
            raise RuleBroken(f"Enter at most {_MOST_NUMBERS} numbers.", field=name)
        found[name] = ",".join(str(number) for number in sorted(numbers, reverse=falls))
    return found


def _told(name: str, before: Any, after: Any) -> tuple[Any, Any]:
    """Return a change as the audit log keeps it: money as a plain amount."""
    if name == "failure_amount":
        return decimal_string(before), decimal_string(after)
    return before, after

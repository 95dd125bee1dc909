"""Set, change or remove one limit from a page, safe against somebody else who does so at the same time."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from audit.actors import Actor, Target
from portal.decision.services import lock_limits, set_limit
from portal.lib.errors import RuleBroken, refuse_if_changed
from portal.lib.money import from_nano
from portal.spend.models import Limit


def typed_amount(limit: Limit) -> str:
    """Return the amount as a person would type it."""
    return f"{from_nano(limit.amount).normalize():,f}" if limit.metric == "spend" else f"{limit.amount:,}"


def editable(limit: Limit) -> dict[str, Any]:
    """Return what can be changed about the limit, as forms show it."""
    return {"amount": typed_amount(limit), "mode": limit.mode}


@transaction.atomic(durable=True)
def change_limit(
    *,
    scope_key: str,
    metric: str,
    window: str,
    model: str,
    is_new: bool,
    seen: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Limit | None:
    """Set a limit that is not there yet, or change one that is; ``rest`` is what `set_limit` takes.

    Raises ChangedMeanwhile when the limit is no longer what was seen, RuleBroken when it has come or gone meanwhile.
    """
    lock_limits(scope_key)
    there = Limit.objects.filter(scope_key=scope_key, metric=metric, window=window, model=model).first()
    if is_new and there is not None:
        raise RuleBroken("There is such a limit already. Change that one.", field="measure")
    if not is_new and there is None:
        raise RuleBroken("Somebody removed this limit meanwhile. Set a new one if it is still wanted.")
    if there is not None:
        refuse_if_changed(seen, editable(there))
    return set_limit(scope_key=scope_key, metric=metric, window=window, model=model, **rest)


@transaction.atomic(durable=True)
def remove_limit(
    *,
    limit: Limit,
    label: str,
    actor: Actor,
    reason: str = "",
    target: Target | None = None,
    most_raise: int | None = None,
) -> None:
    """Take a limit away; nothing happens when it is gone already."""
    set_limit(
        scope_key=limit.scope_key,
        label=label,
        metric=limit.metric,
        window=limit.window,
        model=limit.model,
        amount=None,
        actor=actor,
        reason=reason,
        target=target,
        most_raise=most_raise,
    )

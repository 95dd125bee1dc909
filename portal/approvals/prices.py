"""Prices that need a second person, where the organization wants it so."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.urls import reverse

from audit.actors import Actor
from portal.accounts.models import Person
from portal.approvals.models import Request
from portal.approvals.selectors import policy
from portal.approvals.services import open_request
from portal.decision.services import lock_limits, set_price
from portal.spend.models import Price

AMOUNTS = ("input", "output", "cached_input", "cache_write")
COUNTS = ("ceiling", "context_window")


def needs_second_person() -> bool:
    """Tell whether a change of the price book needs a second person."""
    return policy().prices


@transaction.atomic(durable=True)
def set_or_ask(
    *, model: str, effective: datetime | None, requester: Person, actor: Actor, reason: str, **values: Any
) -> Price | Request:
    """Set the price, or put it before a second person; with nobody else to decide, it is set and the log says so."""
    if not needs_second_person():
        return set_price(model=model, effective=effective, actor=actor, reason=reason, **values)
    with transaction.atomic():  # the price book's own rules refuse now what they would refuse later
        set_price(model=model, effective=effective, actor=actor, reason=reason, **values)
        transaction.set_rollback(True)
    lock_limits(f"price:{model}")
    before = _latest(model)
    payload = {name: None if values.get(name) is None else str(values[name]) for name in (*AMOUNTS, *COUNTS)}
    payload |= {"model": model, "effective": effective.isoformat() if effective else None}
    request = Request(
        kind=Request.Kind.PRICE,
        thing=model[:300],
        label=f"Price of {model}"[:300],
        requester=requester,
        payload=payload,
        reason=reason,
    )
    changes = {
        name: [_text(getattr(before, name) if before else None), payload[name]]
        for name in (*AMOUNTS, *COUNTS)
        if payload[name] is not None or (before and getattr(before, name) is not None)
    }
    return open_request(request, changes=changes, actor=actor, may_be_alone=True)


def _latest(model: str) -> Price | None:
    return Price.objects.filter(model=model).order_by("-effective", "-id").first()


def _text(value: Any) -> str | None:
    return None if value is None else format(value, "f") if isinstance(value, Decimal) else str(value)


@dataclass(frozen=True, slots=True)
class PriceOfAModel:
    """How a price is set: see portal.approvals.kinds.Kind."""

    def version(self, request: Request) -> str:
        """Return which price is the latest; a price is never changed, only followed by another."""
        model = request.payload["model"]
        lock_limits(f"price:{model}")
        found = Price.objects.filter(model=model).order_by("-id").first()
        return str(found.pk) if found else ""

    def execute(self, request: Request, *, decider: Person, actor: Actor, reason: str) -> None:
        """Add the price, in force from the moment asked for, or from now on where that has passed."""
        wanted = request.payload
        effective = datetime.fromisoformat(wanted["effective"]) if wanted["effective"] else None
        values: dict[str, Any] = {
            name: Decimal(wanted[name]) if wanted[name] is not None else None for name in AMOUNTS
        }
        values |= {name: int(wanted[name]) if wanted[name] is not None else None for name in COUNTS}
        set_price(model=wanted["model"], effective=effective, actor=actor, reason=reason, **values)

    def target(self, request: Request) -> tuple[str, str]:
        """Return the price book."""
        return "Price book", reverse("spend:prices")

    def in_words(self, request: Request, value: Any, currency: str) -> str:
        """Return a price per million model tokens as it was entered."""
        return "" if value is None else str(value)


KIND = PriceOfAModel()

"""Import prices into the price book, from which the decision is made."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from audit.actors import Actor
from portal.decision.services import add_prices
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.spend import imports, inbox


@dataclass(frozen=True, slots=True)
class Imported:
    """How many models got their first price, how many another one, and how many names became aliases."""

    new: int
    changed: int
    aliases: int
    source: str


def import_prices(
    *, rate: Decimal = Decimal(1), effective: datetime | None = None, actor: Actor, reason: str = ""
) -> Imported:
    """Add the published prices times the rate; only where they differ from the price in force.

    ``rate`` is how many units of the organization's currency a US dollar is. A price that was entered by hand is
    replaced as well, and stays in the history. ``effective`` lies in the past only before anything was booked.
    """
    if effective is not None and inbox.has_usage():
        raise RuleBroken("Usage was priced already: prices hold from now on.", field="effective")
    rate = imports.checked_rate(rate, current_organization().currency)
    found = imports.difference(rate)
    prices = imports.prices_of(found, rate=rate, created_by=actor.display, effective=effective)
    if prices or found.aliases:
        add_prices(prices, found.aliases, actor=actor, comment=reason or f"{imports.source()}, rate {rate}")
    return Imported(len(found.new), len(found.changed), len(found.aliases), imports.source())

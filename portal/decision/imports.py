"""Import prices into the price book, from which the decision is made."""

from dataclasses import dataclass
from decimal import Decimal

from audit.actors import Actor
from portal.decision.services import add_prices
from portal.organization.selectors import current as current_organization
from portal.spend import imports


@dataclass(frozen=True, slots=True)
class Imported:
    """How many models got their first price, how many another one, and how many names became aliases."""

    new: int
    changed: int
    aliases: int
    source: str


def import_prices(*, rate: Decimal = Decimal(1), actor: Actor, reason: str = "") -> Imported:
    """Add the published prices times the rate; only where they differ from the price in force.

    ``rate`` is how many units of the organization's currency a US dollar is. A price that was entered by hand is
    replaced as well, and stays in the history.
    """
    rate = imports.checked_rate(rate, current_organization().currency)
    found = imports.difference(rate)
    prices = imports.prices_of(found, rate=rate, created_by=actor.display)
    if prices or found.aliases:
        add_prices(prices, found.aliases, actor=actor, comment=reason or f"{imports.source()}, rate {rate}")
    return Imported(len(found.new), len(found.changed), len(found.aliases), imports.source())

"""Fill the price book with published prices."""

from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandParser

from portal.decision.imports import import_prices
from portal.lib.errors import RuleBroken
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``import_prices [--rate R]``: from the package genai-prices, without a network."""

    help = "Import published prices; a model whose price is the same already is left alone."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument(
            "--rate", default="1", metavar="R", help="units of the organization's currency for a US dollar"
        )

    def perform(self, *, rate: str, **options: Any) -> None:
        """Import them."""
        try:
            factor = Decimal(rate)
        except InvalidOperation:
            raise RuleBroken(f"{rate} is not a rate. Write it like 0.92.", field="rate") from None
        done = import_prices(rate=factor, actor=self.actor, reason=options["reason"])
        self.answer(
            {"new": done.new, "changed": done.changed, "aliases": done.aliases, "source": done.source},
            f"{done.new} new prices, {done.changed} changed, {done.aliases} aliases, from {done.source}.",
        )

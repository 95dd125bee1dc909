"""Fill the price book with published prices."""

from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandParser

from portal.decision.imports import import_prices
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.spend.price_book import preview_import
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``import_prices [--rate R]``: from the package genai-prices, without a network."""

    help = "Import published prices; a model whose price is the same already is left alone."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument(
            "--rate", default="1", metavar="R", help="units of the organization's currency for a US dollar"
        )

        parser.add_argument(
            "--confirm", action="store_true", help="also when prices change by more than ten times"
        )

    def perform(self, *, rate: str, confirm: bool, **options: Any) -> None:
        """Import them."""
        try:
            factor = Decimal(rate)
        except InvalidOperation:
            raise RuleBroken(f"{rate} is not a rate. Write it like 0.92.", field="rate") from None
        preview = preview_import(factor, current_organization().currency)
        if preview.large and not confirm:
            raise RuleBroken(
                f"{preview.large} prices change by more than ten times, such as that of "
                f"{preview.samples[0].model}. If that is right, add --confirm.",
                field="rate",
            )
        done = import_prices(rate=factor, actor=self.actor, reason=options["reason"])
        self.answer(
            {"new": done.new, "changed": done.changed, "aliases": done.aliases, "source": done.source},
            f"{done.new} new prices, {done.changed} changed, {done.aliases} aliases, from {done.source}.",
        )

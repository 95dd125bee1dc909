"""Give a model a price."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandParser
from django.utils.dateparse import parse_datetime

from portal.decision.services import set_price
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.spend.price_book import large_changes
from portal.web.commands import PortalCommand, UsageError


class Command(PortalCommand):
    """``set_price MODEL --input A --output A [--cached-input A] [--ceiling TOKENS] [--from T]``."""

    help = "Set what a model costs per million tokens, from a moment on (default now); earlier prices stay."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("model")
        parser.add_argument("--input", required=True, metavar="A")
        parser.add_argument("--output", required=True, metavar="A")
        parser.add_argument("--cached-input", metavar="A", help="default: as input")
        parser.add_argument("--cache-write", metavar="A", help="default: as input")
        parser.add_argument(
            "--ceiling", type=int, metavar="TOKENS", help="the most output tokens the model can produce"
        )
        parser.add_argument("--context-window", type=int, metavar="TOKENS")
        parser.add_argument(
            "--confirm", action="store_true", help="also when a price changes by more than ten times"
        )
        parser.add_argument("--from", dest="effective", metavar="T", help="a moment (RFC 3339), default now")

    def perform(self, *, model: str, effective: str | None, **options: Any) -> None:
        """Set it; calls authorized from then on are priced by it."""
        for name in ("ceiling", "context_window"):
            if options[name] is not None and options[name] < 1:
                raise RuleBroken("Enter a number of tokens, 1 or more.", field=name)
        amounts: dict[str, Any] = {
            name: _amount(options[name], name) if options[name] else None
            for name in ("cached_input", "cache_write")
        }
        prices = {name: _amount(options[name], name) for name in ("input", "output")}
        currency = current_organization().currency
        if not options["confirm"] and (large := large_changes(model, {**prices, **amounts}, currency)):
            raise RuleBroken(
                f"More than ten times apart: {'; '.join(large)}. If that is right, add --confirm."
            )
        price = set_price(
            model=model,
            **prices,
            **amounts,
            ceiling=options["ceiling"],
            context_window=options["context_window"],
            effective=_moment(effective) if effective else None,
            actor=self.actor,
            reason=options["reason"],
        )
        answer = {
            "id": price.pk,
            "model": price.model,
            "input": format(price.input, "f"),
            "output": format(price.output, "f"),
            "cached_input": None if price.cached_input is None else format(price.cached_input, "f"),
            "ceiling": price.ceiling,
            "from": price.effective,
        }
        self.answer(
            answer,
            f"{price.model}: {answer['input']} in, {answer['output']} out per million tokens, from "
            f"{price.effective:%Y-%m-%d %H:%M:%S} UTC.",
        )


def _amount(text: str, field: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise RuleBroken(f"{text} is not an amount. Write it like 1.25.", field=field) from None


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise UsageError(f"{text} is no moment. Write it like 2026-11-24T09:00:00Z.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

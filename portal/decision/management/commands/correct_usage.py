"""Correct or void what was booked for one call."""

from typing import Any

from django.core.management.base import CommandParser

from portal.decision.corrections import Used, correct_usage, void_usage
from portal.lib.errors import RuleBroken
from portal.lib.money import decimal_string, to_nano
from portal.spend.calls import call_of, keys_of
from portal.web.commands import PortalCommand, UsageError


class Command(PortalCommand):
    """``correct_usage REQUEST_ID --gateway ID (--void | --input-tokens N --output-tokens N …) --reason R``."""

    help = "Make a call come to what it really used, by a further row; what was booked stays."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("request_id")
        parser.add_argument("--gateway", required=True, metavar="ID", help="the id of the gateway")
        parser.add_argument("--void", action="store_true", help="the call comes to nothing")
        parser.add_argument("--input-tokens", type=int, metavar="N")
        parser.add_argument("--output-tokens", type=int, metavar="N")
        parser.add_argument("--cached-input-tokens", type=int, default=0, metavar="N")
        parser.add_argument("--cache-write-tokens", type=int, default=0, metavar="N")
        parser.add_argument("--reasoning-tokens", type=int, default=0, metavar="N")
        parser.add_argument("--amount", metavar="A", help="what it costs; default: by its price")

    def perform(self, *, request_id: str, gateway: str, void: bool, **options: Any) -> None:
        """Book the difference."""
        counts = (options["input_tokens"], options["output_tokens"])
        if not void and None in counts:
            raise UsageError("Say what it used (--input-tokens and --output-tokens), or --void.")
        if "\x00" in request_id + gateway:
            raise UsageError("An id has no such characters.")
        calls = [call for key in keys_of(request_id, [gateway]) if (call := call_of(key)) is not None]
        booked = calls[0].corrigible if calls else None
        if booked is None:
            raise RuleBroken("There is no such call, or nothing is booked for it.", field="request_id")
        named = {
            "entry_id": booked.id,
            "moment": booked.moment,
            "reason": options["reason"],
            "actor": self.actor,
        }
        if void:
            void_usage(**named)
        else:
            used = Used(
                *counts,
                options["cached_input_tokens"],
                options["cache_write_tokens"],
                options["reasoning_tokens"],
            )
            correct_usage(used=used, amount=_nano(options["amount"]), **named)
        now = call_of(keys_of(request_id, [gateway])[0])
        spend = decimal_string(now.totals.spend if now else 0)
        self.answer({"request_id": request_id, "spend": spend}, f"{request_id} comes to {spend}.")


def _nano(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return to_nano(text)
    except ValueError as error:
        raise RuleBroken(f"Enter an amount such as 0.25: {error}.", field="amount") from error

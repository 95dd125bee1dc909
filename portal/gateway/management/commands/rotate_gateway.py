"""Give a gateway another secret."""

from typing import Any

from django.core.management.base import CommandParser

from portal.gateway.models import Gateway
from portal.gateway.services import rotate_gateway
from portal.lib.errors import RuleBroken
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``rotate_gateway ID``: the same gateway, another secret."""

    help = "Give a gateway another secret; the old one is refused from the next request on."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("gateway", metavar="ID")

    def perform(self, *, gateway: str, reason: str, **options: Any) -> None:
        """Rotate it."""
        found = Gateway.objects.filter(key_id=gateway).first()
        if found is None:
            raise RuleBroken(f"There is no gateway with the id {gateway}.", field="gateway")
        rotated, secret = rotate_gateway(gateway=found, actor=self.actor, reason=reason)
        self.answer(
            {"id": rotated.key_id, "secret": secret, "name": rotated.name},
            f"{rotated.name} has another secret, shown this once:\n{secret}",
        )

"""Register a gateway."""

from typing import Any

from django.core.management.base import CommandParser

from portal.gateway.services import register_gateway
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``register_gateway NAME``: prints its id and its secret, which is shown this once."""

    help = "Register a gateway that serves all projects; its secret is printed this once."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("name")

    def perform(self, *, name: str, reason: str, **options: Any) -> None:
        """Register it."""
        gateway, secret = register_gateway(name=name, actor=self.actor, reason=reason)
        self.answer(
            {"id": gateway.key_id, "secret": secret, "name": gateway.name},
            f"{gateway.name} is registered as {gateway.key_id}. Its secret, shown this once:\n{secret}",
        )

"""Revoke an API key."""

from typing import Any

from django.core.management.base import CommandParser

from apikeys.models import ApiKey
from apikeys.services import revoke_api_key
from portal.lib.errors import RuleBroken
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``revoke_api_key ID``."""

    help = "Revoke an API key for good. The very next call with it is refused."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("id")

    def perform(self, *, id: str, reason: str, **options: Any) -> None:  # noqa: A002  the name of the argument
        """Revoke it."""
        key = ApiKey.objects.filter(key_id=id).first()
        if key is None:
            raise RuleBroken(f"There is no API key with the id {id}.", field="id")
        key = revoke_api_key(key=key, actor=self.actor, reason=reason)
        self.answer({"id": key.key_id, "revoked": key.revoked}, f"{key.hint} is revoked.")

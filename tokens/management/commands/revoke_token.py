"""Revoke a user token."""

from typing import Any

from django.core.management.base import CommandParser

from portal.lib.errors import RuleBroken
from portal.web.commands import PortalCommand
from tokens.models import UserToken
from tokens.services import revoke_token


class Command(PortalCommand):
    """``revoke_token ID``."""

    help = "Revoke a user token for good. The very next call with it is refused."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("id")

    def perform(self, *, id: str, reason: str, **options: Any) -> None:  # noqa: A002  the name of the argument
        """Revoke it."""
        token = UserToken.objects.filter(key_id=id).first()
        if token is None:
            raise RuleBroken(f"There is no user token with the id {id}.", field="id")
        token = revoke_token(token=token, actor=self.actor, reason=reason)
        self.answer({"id": token.key_id, "revoked": token.revoked}, f"{token.hint} is revoked.")

"""Give an API key another secret."""

from typing import Any

from django.core.management.base import CommandParser

from apikeys.models import ApiKey
from apikeys.rotation import USUAL_HOURS, rotate_api_key
from portal.lib.errors import RuleBroken
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``rotate_api_key ID [--overlap HOURS] [--days N]``."""

    help = "Give an API key another secret. The previous one works for the overlap; 0 ends it now."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("id")
        parser.add_argument("--overlap", type=int, default=USUAL_HOURS, metavar="HOURS")
        parser.add_argument("--days", type=int, help="valid for so long from now; else its expiry stays")

    def perform(self, *, id: str, overlap: int, days: int | None, reason: str, **options: Any) -> None:  # noqa: A002
        """Rotate it; the secret is printed this once."""
        key = ApiKey.objects.filter(key_id=id).first()
        if key is None:
            raise RuleBroken(f"There is no API key with the id {id}.", field="id")
        key, secret = rotate_api_key(
            key=key, overlap_hours=overlap, days=days, actor=self.actor, reason=reason
        )
        self.answer({"id": key.key_id, "secret": secret, "expires_at": key.expires}, secret)

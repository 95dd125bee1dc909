"""Issue an API key."""

from typing import Any

from django.core.management.base import CommandParser

from apikeys.services import issue_api_key
from portal.web.commands import PortalCommand
from projects.commands import project_named


class Command(PortalCommand):
    """``issue_api_key --project C --name N [--days N]``."""

    help = "Issue an API key for a system of a project."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("--project", required=True, metavar="CODE")
        parser.add_argument("--name", required=True)
        parser.add_argument("--days", type=int)

    def perform(self, *, project: str, name: str, days: int | None, reason: str, **options: Any) -> None:
        """Issue it; the secret is printed this once."""
        key, secret = issue_api_key(
            project=project_named(project), name=name, days=days, actor=self.actor, reason=reason
        )
        self.answer({"id": key.key_id, "secret": secret, "expires_at": key.expires}, secret)

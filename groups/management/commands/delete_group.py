"""Delete a group."""

from typing import Any

from django.core.management.base import CommandParser

from groups.services import delete_group
from portal.web.commands import PortalCommand
from projects.commands import group_named


class Command(PortalCommand):
    """``delete_group CODE``."""

    help = "Delete a group that owns no project. What was spent under it stays."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("code")

    def perform(self, *, code: str, reason: str, **options: Any) -> None:
        """Delete it."""
        group = group_named(code)
        delete_group(group=group, actor=self.actor, reason=reason)
        self.answer({"code": code, "deleted": True}, f"Group {group.name} deleted.")

"""Create a project."""

from typing import Any

from django.core.management.base import CommandParser

from portal.web.commands import PortalCommand
from projects.commands import group_named, person_named
from projects.services import create_project


class Command(PortalCommand):
    """``create_project --code C --name N [--group CODE] [--owner EMAIL …] [--daily-limit A] [--monthly-limit A]``."""

    help = "Create a project. Group, owners and limits may come later."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("--code", required=True)
        parser.add_argument("--name", required=True)
        parser.add_argument("--group", default="", help="code of the group that owns it")
        parser.add_argument("--owner", action="extend", nargs="+", default=[], metavar="EMAIL")
        parser.add_argument("--daily-limit", metavar="AMOUNT")
        parser.add_argument("--monthly-limit", metavar="AMOUNT")

    def perform(
        self, *, code: str, name: str, group: str, owner: list[str], reason: str, **options: Any
    ) -> None:
        """Create it."""
        project = create_project(
            code=code,
            name=name,
            group=group_named(group) if group else None,
            owners=[person_named(email, self.actor) for email in dict.fromkeys(owner)],
            daily_limit=options["daily_limit"],
            monthly_limit=options["monthly_limit"],
            actor=self.actor,
            reason=reason,
        )
        answer = {"id": project.pk, "code": project.code, "name": project.name, "group": group or None}
        self.answer(answer, f"Project {project.name} ({project.code}) created.")

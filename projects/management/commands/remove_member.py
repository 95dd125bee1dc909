"""Remove a person, or end the access of a group."""

from typing import Any

from django.core.management.base import CommandParser

from portal.lib.errors import RuleBroken
from portal.web.commands import PortalCommand
from projects.commands import group_named, person_known, project_named
from projects.services import exclude_group, remove_member


class Command(PortalCommand):
    """``remove_member --project C (--email E | --group C)``."""

    help = "Take a person out of a project, or end the access of a group. Their tokens there are refused at once."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("--project", required=True, metavar="CODE")
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--email")
        who.add_argument("--group", metavar="CODE")

    def perform(self, *, project: str, email: str, group: str, reason: str, **options: Any) -> None:
        """Remove them."""
        found = project_named(project)
        if group:
            excluded = group_named(group)
            exclude_group(project=found, group=excluded, actor=self.actor, reason=reason)
            self.answer({"project": project, "group": group}, f"{excluded.name} has no access any more.")
            return
        person = person_known(email)
        if person is None:
            raise RuleBroken(f"The portal knows nobody with the address {email}.", field="email")
        remove_member(project=found, person=person, actor=self.actor, reason=reason)
        self.answer({"project": project, "person": person.pk}, f"{person} removed from {found.name}.")

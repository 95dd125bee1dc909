"""Add a person, or give a group access."""

from typing import Any

from django.core.management.base import CommandParser

from portal.web.commands import PortalCommand
from projects.commands import group_named, person_named, project_named
from projects.roles import change_role
from projects.services import add_member, admit_group


class Command(PortalCommand):
    """``add_member --project C (--email E | --group C)``."""

    help = "Make a person a member of a project, or give the members of a group access to it."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("--project", required=True, metavar="CODE")
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--email")
        who.add_argument("--group", metavar="CODE")
        parser.add_argument("--role", choices=["member", "owner"], default="member", help="with --email")

    def perform(
        self, *, project: str, email: str, group: str, role: str, reason: str, **options: Any
    ) -> None:
        """Add them."""
        found = project_named(project)
        if group:
            admitted = group_named(group)
            admit_group(project=found, group=admitted, actor=self.actor, reason=reason)
            self.answer({"project": project, "group": group}, f"{admitted.name} has access to {found.name}.")
            return
        person = person_named(email, self.actor)
        is_there = found.memberships.filter(person=person).exists()
        place = change_role if is_there else add_member
        place(project=found, person=person, role=role, actor=self.actor, reason=reason)
        answer = {
            "project": project,
            "person": person.pk,
            "has_identity": person.oid is not None,
            "role": role,
        }
        self.answer(answer, f"{person} is {role} of {found.name}.")

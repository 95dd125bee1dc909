"""Give somebody a role."""

from typing import Any

from django.core.management.base import CommandParser

from groups.models import Group
from portal.accounts import services
from portal.accounts.people import person_by_address
from portal.accounts.policy import GRANTED_ROLES, Role
from portal.lib.errors import RuleBroken
from portal.web.commands import PortalCommand, UsageError


class Command(PortalCommand):
    """``grant_access EMAIL --role admin|auditor|operator|group_admin [--group C] [--oid OID]``."""

    help = "Give a person a role. The address is looked up in the directory; the object id is what is stored."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("email")
        parser.add_argument("--role", required=True, choices=[role.value for role in GRANTED_ROLES])
        parser.add_argument("--group", default="", help="code of the group, for --role group_admin")
        parser.add_argument("--oid", default="", help="object id, where the address does not name one person")

    def perform(self, **options: Any) -> int | None:
        """Look the person up and grant the role."""
        role, group = options["role"], options["group"]
        if group and role != Role.GROUP_ADMIN:
            raise UsageError("--group goes with --role group_admin only.")
        wanted = Group.objects.current().filter(code=group).first() if group else None
        if group and wanted is None:
            raise RuleBroken(f"There is no group with the code {group}.", field="group")
        person = person_by_address(email=options["email"], oid=options["oid"], actor=self.actor)
        held = person.role_grants.filter(role=role, group=wanted, source=services.PORTAL).exists()
        if not held:
            services.grant_access(
                person=person,
                role=role,
                group=wanted.pk if wanted else None,
                actor=self.actor,
                reason=options["reason"],
            )
        label = Role(role).label + (f" of {wanted.name}" if wanted else "")
        answer = {"person": person.pk, "tid": str(person.tid), "oid": str(person.oid), "role": role}
        self.answer(
            answer | {"group": group or None, "is_new": not held},
            f"{person} ({person.oid}): {label} {'already' if held else 'from now on'}.",
        )
        return None

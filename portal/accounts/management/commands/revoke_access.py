"""Take all roles away from somebody."""

from typing import Any

from django.core.management.base import CommandParser

from portal.accounts import services
from portal.accounts.models import Person
from portal.accounts.people import known_person
from portal.lib.errors import RuleBroken
from portal.web.commands import PortalCommand
from projects.models import Membership


class Command(PortalCommand):
    """``revoke_access EMAIL [--oid OID]``."""

    help = "Take all roles away from a person and end their sessions."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("email")
        parser.add_argument("--oid", default="", help="object id, where the address does not name one person")

    def perform(self, **options: Any) -> int | None:
        """Look the person up, revoke, and say what access is left."""
        person = known_person(email=options["email"], oid=options["oid"])
        projects = _projects(person)
        from_entra = person.role_grants.filter(source=services.ENTRA).exists()
        if projects and not person.role_grants.exists():
            raise RuleBroken(
                f"{person} has no role, only places in projects: {', '.join(projects)}. Use remove_member."
            )
        revoked = services.revoke_access(person=person, actor=self.actor, reason=options["reason"])
        text = [f"{person}: no longer {', '.join(revoked)}; signed out everywhere."]
        if from_entra:
            text.append("Entra ID gives its app role again at the next sign-in: remove the assignment there.")
        if projects:
            text.append(f"Still in projects: {', '.join(projects)}.")
        answer = {"person": person.pk, "oid": str(person.oid), "revoked": revoked}
        self.answer(answer | {"assigned_in_entra": from_entra, "projects": projects}, "\n".join(text))
        return None


def _projects(person: Person) -> list[str]:
    memberships = Membership.objects.filter(person=person).select_related("project")
    return sorted(membership.project.code for membership in memberships)

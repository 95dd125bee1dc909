"""What commands name by a code or an address."""

from audit.actors import Actor
from groups.models import Group
from portal.accounts.models import Person
from portal.accounts.people import person_by_address
from portal.accounts.selectors import known_by_address
from portal.accounts.services import person_without_identity
from portal.lib.errors import RuleBroken, Unavailable
from projects.models import Project


def project_named(code: str) -> Project:
    """Return the project with a code; raise RuleBroken when there is none."""
    project = Project.objects.select_related("group").filter(code=code).first()
    if project is None:
        raise RuleBroken(f"There is no project with the code {code}.", field="project")
    return project


def group_named(code: str) -> Group:
    """Return the group with a code; raise RuleBroken when there is none."""
    group = Group.objects.current().filter(code=code).first()
    if group is None:
        raise RuleBroken(f"There is no group with the code {code}.", field="group")
    return group


def person_known(email: str) -> Person | None:
    """Return the one person shown with an address; raise RuleBroken when several are and only one may be meant."""
    shown = known_by_address(email)
    found = [person for person in shown if person.oid] or shown
    if len(found) > 1:
        raise RuleBroken(
            f"Several people have the address {email}. Use the pages, where each is shown.", field="email"
        )
    return found[0] if found else None


def person_named(email: str, actor: Actor) -> Person:
    """Return somebody by address: known here, else as the directory has them, else made without an identity."""
    if person := person_known(email):
        return person
    try:
        return person_by_address(email=email, actor=actor)
    except (RuleBroken, Unavailable):
        return person_without_identity(email=email, actor=actor)

"""The gate of the audit log: what of it a person may read.

Administrators, auditors and operators read all of it; who administers groups, what happened in these groups; who owns
projects, what happened in them; everybody, what they did themselves.
"""

from django.db.models import Q, QuerySet

from audit import selectors
from audit.models import AuditSeal
from portal.accounts.access import can, groups_administered
from portal.accounts.models import Person
from portal.accounts.policy import Right
from projects.access import projects_with


def reads_everything(person: Person) -> bool:
    """Tell whether no entry is hidden from the person."""
    return can(person, Right.SEE_AUDIT, everywhere=True)


def entries_visible_to(person: Person) -> QuerySet[AuditSeal]:
    """Return the part of the log that the person may read."""
    rows = selectors.sealed_entries()
    if reads_everything(person):
        return rows
    own = Q(entry__actor_type="user", entry__actor_id=str(person.pk))
    projects = Q(entry__project_id__in=projects_with(person, Right.SEE_AUDIT).values("pk"))
    groups = Q(entry__group_id__in=groups_administered(person))
    return rows.filter(own | projects | groups)


def actors_visible_to(person: Person) -> list[tuple[str, str]]:
    """Return who acted lately in what the person may read, id and name."""
    if reads_everything(person):
        return selectors.actors_of_all()
    return selectors.actors_in(entries_visible_to(person))

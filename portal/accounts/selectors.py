"""Questions about people."""

from uuid import UUID

from django.db.models import Q, QuerySet

from portal.accounts.models import Person, RoleGrant
from portal.accounts.policy import Role


def person_by_identity(tid: UUID, oid: UUID) -> Person | None:
    """Return the person with an Entra ID identity: the only way a sign-in finds one."""
    return Person.objects.filter(tid=tid, oid=oid).first()


def known_by_address(email: str) -> list[Person]:
    """Return the people shown with an address, for somebody to choose from. It identifies nobody."""
    return list(Person.objects.filter(email__iexact=email.strip()).order_by("pk")[:10])


def people_with_roles(*, search: str = "", role: str = "", source: str = "") -> QuerySet[Person]:
    """Return the people with at least one granted role, grants included, by name."""
    grants = RoleGrant.objects.all()
    if role:
        grants = grants.filter(role=role)
    if source:
        grants = grants.filter(source=source)
    people = Person.objects.filter(pk__in=grants.values("person")).prefetch_related("role_grants__group")
    if search:
        people = people.filter(Q(name__icontains=search) | Q(email__icontains=search))
    return people.order_by("name", "pk")


def people_without_identity() -> QuerySet[Person]:
    """Return the people made for a credential, who wait to be linked to an Entra ID account."""
    return Person.objects.filter(oid__isnull=True).order_by("name", "pk")


def roles_granted(person: Person, source: str = "") -> list[str]:
    """Return the granted roles as the audit log writes them: ``group_admin:claims``."""
    grants = person.role_grants.select_related("group").order_by("role", "group__code")
    if source:
        grants = grants.filter(source=source)
    return [f"{grant.role}:{grant.group.code}" if grant.group else str(grant.role) for grant in grants]


def role_label(role: str) -> str:
    """Return a role as people read it."""
    return str(Role(role).label)

"""Questions about people."""

from uuid import UUID

from django.db.models import Q

from portal.accounts.models import Person


def person_by_identity(tid: UUID, oid: UUID) -> Person | None:
    """Return the person with an Entra ID identity: the only way a sign-in finds one."""
    return Person.objects.filter(tid=tid, oid=oid).first()


def known_by_address(email: str) -> list[Person]:
    """Return the people shown with an address, for somebody to choose from. It identifies nobody."""
    return list(Person.objects.filter(email__iexact=email.strip()).order_by("pk")[:10])


def roles_granted(person: Person, source: str = "") -> list[str]:
    """Return the granted roles as the audit log writes them: ``group_admin:claims``."""
    grants = person.role_grants.select_related("group").order_by("role", "group__code")
    if source:
        grants = grants.filter(source=source)
    return [f"{grant.role}:{grant.group.code}" if grant.group else str(grant.role) for grant in grants]


def people_meant(text: str, most: int = 500) -> list[int]:
    """Return the people whose name or address holds the text, as numbers."""
    found = Person.objects.filter(Q(name__icontains=text) | Q(email__icontains=text))
    return list(found.order_by("pk").values_list("pk", flat=True)[:most])

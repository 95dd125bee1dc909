"""The list of people: who matches, in what order, with what beside each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum, TextField, Value
from django.db.models.functions import Coalesce, Concat

from groups.models import GroupMember
from portal.accounts.models import Person, RoleGrant
from portal.accounts.policy import Role
from portal.spend import scopes
from portal.spend.models import Rollup, Total
from portal.spend.selectors import Calendar, today_and_month
from projects.models import Membership
from tokens.models import UserToken

STATES = {
    "active": "Active",
    "left": "Left the directory",
    "guest": "Guests",
    "no_role": "Without a role",
    "unlinked": "Without an account",
}
SOURCES = {"entra": "Entra ID", "portal": "Granted here", "project": "Projects", "group": "Groups"}
ROLES = [(role.value, role.label) for role in Role]


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One person as the list shows them; spend in nano-units."""

    person: Person
    projects: int
    tokens: int
    month: int


def matching(*, text: str = "", role: str = "", state: str = "", source: str = "") -> QuerySet[Person]:
    """Return the people the filters ask for."""
    people = Person.objects.all()
    if text:
        people = people.filter(Q(name__icontains=text) | Q(email__icontains=text))
    if role in (Role.OWNER, Role.MEMBER):
        people = people.filter(pk__in=Membership.objects.filter(role=role).values("person"))
    elif role:
        people = people.filter(pk__in=RoleGrant.objects.filter(role=role).values("person"))
    if source in ("entra", "portal"):
        people = people.filter(pk__in=RoleGrant.objects.filter(source=source).values("person"))
    elif source == "project":
        people = people.filter(pk__in=Membership.objects.values("person"))
    elif source == "group":
        people = people.filter(pk__in=_through_groups().values("person"))
    return _in_state(people, state)


def _in_state(people: QuerySet[Person], state: str) -> QuerySet[Person]:
    if state == "active":
        return people.filter(is_active=True, oid__isnull=False)
    if state == "left":
        return people.filter(left__isnull=False)
    if state == "guest":
        return people.filter(is_guest=True)
    if state == "unlinked":
        return people.filter(oid__isnull=True)
    if state == "no_role":
        return (
            people.filter(oid__isnull=False)
            .exclude(pk__in=RoleGrant.objects.values("person"))
            .exclude(pk__in=Membership.objects.values("person"))
            .exclude(pk__in=_through_groups().values("person"))
        )
    return people


def _through_groups() -> QuerySet[GroupMember]:
    return GroupMember.objects.filter(group__deleted=None, group__project_access__isnull=False)


def with_figure(people: QuerySet[Person], name: str, calendar: Calendar) -> QuerySet[Person]:
    """Return the people with the figure they are to be sorted by: ``projects``, ``tokens`` or ``month``."""
    if name == "projects":
        return people.annotate(projects=_count(Membership.objects.all()))
    if name == "tokens":
        return people.annotate(held=_count(UserToken.objects.current()))
    if name == "month":
        key = Concat(Value(scopes.user(0)[:-1]), OuterRef("pk"), output_field=TextField())
        days = Rollup.objects.filter(scope_key=key, day__gte=calendar.first, day__lt=calendar.after)
        total = days.order_by().values("scope_key").annotate(total=Sum("spend")).values("total")
        return people.annotate(month=Coalesce(Subquery(total), Value(0), output_field=Total()))
    return people


def _count(rows: QuerySet[Any]) -> Coalesce:
    found = rows.filter(person=OuterRef("pk")).order_by().values("person").annotate(number=Count("pk"))
    return Coalesce(Subquery(found.values("number"), output_field=IntegerField()), 0)


def person_rows(people: Sequence[Person], calendar: Calendar) -> list[PersonRow]:
    """Return what the list shows beside each person, in three queries whatever their number."""
    ids = [person.pk for person in people]
    projects = _numbers(Membership.objects.filter(person__in=ids))
    tokens = _numbers(UserToken.objects.current().filter(person__in=ids))
    spent = today_and_month([scopes.user(pk) for pk in ids], calendar)
    rows = []
    for person in people:
        used = spent.get(scopes.user(person.pk))
        month = used.month if used else 0
        rows.append(PersonRow(person, projects.get(person.pk, 0), tokens.get(person.pk, 0), month))
    return rows


def _numbers(rows: QuerySet[Any]) -> dict[int, int]:
    return dict(rows.order_by().values_list("person").annotate(Count("pk")))

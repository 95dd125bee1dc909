"""The list of people: who matches, in what order, with what beside each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Count, Q, QuerySet

from groups.models import GroupMember
from portal.accounts.models import Person, RoleGrant
from portal.accounts.policy import Role
from portal.spend import scopes
from portal.spend.models import PersonStanding
from portal.spend.selectors import Calendar, today_and_month
from portal.web.pagination import Page, page_of
from projects.models import Membership
from tokens.models import UserToken

STANDING = "standing__"
"""Before the keys of orders by `PersonStanding`."""
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


def catch_up() -> None:
    """Count the tokens anew of those one of whose has expired since."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT person_standing_count_tokens(ARRAY(SELECT person_id FROM person_standing WHERE ends <= now()))"
        )


def page_in_order(people: QuerySet[Person], *, order: Sequence[str], cursor: str) -> Page[Any]:
    """Return a page of the people in the order of a column.

    By projects, tokens or spend the place is found by an index of `PersonStanding`, whatever their number. By this
    month's spend, those who spent nothing in it come after those who did.
    """
    if not order[0].removeprefix("-").startswith(STANDING):
        return page_of(people, order=order, cursor=cursor)
    catch_up()
    keys = [key.replace(STANDING, "") for key in order]
    standings = PersonStanding.objects.filter(
        person__in=people.prefetch_related(None).order_by().values("pk")
    )
    page: Page[PersonStanding] = page_of(standings, order=keys, cursor=cursor)
    found = people.in_bulk([standing.pk for standing in page.rows])
    return Page([found[row.pk] for row in page.rows if row.pk in found], page.next, page.previous)


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

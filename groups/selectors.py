"""Questions about groups."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q, QuerySet

from groups.models import Group, GroupMember, GroupQuerySet
from portal.accounts.models import Person
from portal.spend import scopes, selectors
from portal.spend.selectors import NOTHING, Calendar


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group as lists show it: spend of the projects it owns and its limits, in nano-units."""

    pk: int
    code: str
    name: str
    projects: int
    members: int
    is_linked: bool
    is_missing: bool
    looked_up: datetime | None
    today: int
    month: int
    day_limit: int | None
    month_limit: int | None


def group_rows(groups: GroupQuerySet, calendar: Calendar) -> list[GroupRow]:
    """Return the groups with spend, limits and counts, in four queries whatever their number."""
    found = list(groups)
    ids = [group.pk for group in found]
    keys = [scopes.group(pk) for pk in ids]
    used, limits = selectors.today_and_month(keys, calendar), selectors.spend_limits(keys)
    counts = {
        row["pk"]: (row["owned"], row["people"])
        for row in Group.objects.filter(pk__in=ids)
        .order_by()
        .values("pk")
        .annotate(
            owned=Count("projects", filter=~Q(projects__state="archived"), distinct=True),
            people=Count("members", distinct=True),
        )
    }
    rows = []
    for group in found:
        spent, (day_limit, month_limit) = (
            used.get(scopes.group(group.pk), NOTHING),
            limits.get(scopes.group(group.pk), (None, None)),
        )
        rows.append(
            GroupRow(
                group.pk,
                group.code,
                group.name,
                *counts.get(group.pk, (0, 0)),
                group.entra_id is not None,
                group.is_missing,
                group.looked_up,
                spent.today,
                spent.month,
                day_limit,
                month_limit,
            )
        )
    return rows


def people_of(group: Group) -> QuerySet[Person]:
    """Return the people whom the directory lists in the group, by name."""
    return Person.objects.filter(group_memberships__group=group).order_by("name", "pk")


def number_of_members(group: Group) -> int:
    """Return how many people of the group the portal knows."""
    return GroupMember.objects.filter(group=group).count()


def linked_groups() -> GroupQuerySet:
    """Return the groups whose members the directory knows."""
    return Group.objects.current().filter(entra_id__isnull=False)

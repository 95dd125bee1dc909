"""Questions about groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import (
    Count,
    DecimalField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    TextField,
    Value,
)
from django.db.models.functions import Cast, Coalesce, Concat

from groups.models import Group, GroupMember, GroupQuerySet
from portal.accounts.models import Person, RoleGrant
from portal.accounts.policy import Role
from portal.spend import scopes, selectors
from portal.spend.models import Rollup
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
    # Two counts of their own: together their joins would multiply.
    shown = Group.objects.filter(pk__in=ids).order_by().values("pk")
    owned = dict(
        shown.annotate(owned=Count("projects", filter=~Q(projects__state="archived"))).values_list(
            "pk", "owned"
        )
    )
    people = dict(shown.annotate(people=Count("members")).values_list("pk", "people"))
    counts = {pk: (owned[pk], people[pk]) for pk in owned}
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


def sorted_by(groups: GroupQuerySet, order: Sequence[str], calendar: Calendar) -> GroupQuerySet:
    """Return the groups with the figures that the order names: projects, members, spend today or this month."""
    names = {name.lstrip("-") for name in order}
    if "owned" in names:
        groups = groups.annotate(owned=Count("projects", filter=~Q(projects__state="archived")))
    if "known" in names:
        groups = groups.annotate(known=Count("members"))
    for name, first in (("today", calendar.today), ("month", calendar.first)):
        if name in names:
            used = Rollup.objects.filter(day__gte=first, day__lt=calendar.after).filter(
                scope_key=Concat(Value("g:"), Cast(OuterRef("pk"), TextField()))
            )
            spent = used.order_by().values("scope_key").annotate(total=Sum("spend")).values("total")
            groups = groups.annotate(
                **{
                    name: Coalesce(
                        Subquery(spent, output_field=DecimalField(max_digits=30, decimal_places=0)),
                        Decimal(0),
                    )
                }
            )
    return groups


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """What stands above the list: numbers of groups, and amounts in nano-units."""

    total: int
    missing: int
    month: int
    month_limits: int
    near: int
    blocked: int


def figures(groups: GroupQuerySet, calendar: Calendar) -> GroupFigures:
    """Return the figures of all the groups together, in three queries."""
    rows = list(groups.order_by().values_list("pk", "is_missing"))
    keys = [scopes.group(pk) for pk, _ in rows]
    used, limits = selectors.today_and_month(keys, calendar), selectors.spend_limits(keys)
    shares = []
    for key, (day, month) in limits.items():
        spent = used.get(key, NOTHING)
        held = [(spent.today, day), (spent.month, month)]
        shares.append(max(u * 1000 // lim if lim else 1000 for u, lim in held if lim is not None))
    return GroupFigures(
        total=len(rows),
        missing=sum(is_missing for _, is_missing in rows),
        month=sum(spent.month for spent in used.values()),
        month_limits=sum(month or 0 for _, month in limits.values()),
        near=sum(800 <= share < 1000 for share in shares),
        blocked=sum(share >= 1000 for share in shares),
    )


def admins_of(group: Group) -> QuerySet[RoleGrant]:
    """Return the grants that name the group: who administers it and nothing else by them."""
    grants = RoleGrant.objects.filter(group=group, role=Role.GROUP_ADMIN).select_related("person")
    return grants.order_by("person__name", "pk")


def people_of(group: Group) -> QuerySet[Person]:
    """Return the people whom the directory lists in the group, by name."""
    return Person.objects.filter(group_memberships__group=group).order_by("name", "pk")


def number_of_members(group: Group) -> int:
    """Return how many people of the group the portal knows."""
    return GroupMember.objects.filter(group=group).count()


def linked_groups() -> GroupQuerySet:
    """Return the groups whose members the directory knows."""
    return Group.objects.current().filter(entra_id__isnull=False)

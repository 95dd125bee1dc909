"""Questions about projects."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from audit.models import AuditEntry
from groups.models import GroupMember
from portal.accounts.models import Person
from portal.spend import scopes, selectors
from portal.spend.forecast import HISTORY, Forecast, forecast
from portal.spend.selectors import NOTHING, Calendar, TodayAndMonth
from projects.models import Membership, Project, ProjectQuerySet

Standing = Literal["active", "near", "blocked", "paused", "archived"]


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project as lists show it: spend and limits in nano-units, credentials that work, when one was last used."""

    pk: int
    code: str
    name: str
    group_code: str
    group_name: str
    owners: tuple[str, ...]
    tags: tuple[str, ...]
    cost_centre: str
    state: str
    today: int
    month: int
    day_limit: int | None
    month_limit: int | None
    tokens: int
    keys: int
    last_used: datetime | None

    @property
    def standing(self) -> Standing:
        """The state, or for an active project whether a spend limit is reached or near."""
        return standing(self.state, (self.today, self.day_limit), (self.month, self.month_limit))

    @property
    def share(self) -> int | None:
        """Per mille used of the fullest spend limit; None without one."""
        limits = ((self.today, self.day_limit), (self.month, self.month_limit))
        parts = [used * 1000 // limit if limit else 1000 for used, limit in limits if limit is not None]
        return max(parts, default=None)

    @property
    def owner(self) -> str:
        """The first owner, and how many more there are."""
        if not self.owners:
            return "No owner"
        more = len(self.owners) - 1
        return f"{self.owners[0]} and {more} more" if more else self.owners[0]


def standing(state: str, *spends: tuple[int, int | None]) -> Standing:
    """Return the state of a project, refined by its spend limits, each ``(used, limit)``."""
    if state == Project.State.PAUSED:
        return "paused"
    if state == Project.State.ARCHIVED:
        return "archived"
    limited = [(used, limit) for used, limit in spends if limit is not None]
    if any(used >= limit for used, limit in limited):
        return "blocked"
    return "near" if any(used * 10 >= limit * 8 for used, limit in limited) else "active"


def project_rows(projects: ProjectQuerySet, calendar: Calendar) -> list[ProjectRow]:
    """Return the projects with spend, limits, owners and credentials, in six queries whatever their number."""
    found = list(projects.select_related("group"))
    ids = [project.pk for project in found]
    keys = [scopes.project(pk) for pk in ids]
    used = selectors.today_and_month(keys, calendar)
    limits = selectors.spend_limits(keys)
    owners: dict[int, list[str]] = {}
    memberships = Membership.objects.filter(project__in=ids, role=Membership.Role.OWNER).select_related(
        "person"
    )
    for membership in memberships.order_by("added", "pk"):
        owners.setdefault(membership.project_id, []).append(str(membership.person))
    tokens, api_keys = _credentials(ids, "tokens"), _credentials(ids, "api_keys")
    rows = []
    for project in found:
        spent = used.get(scopes.project(project.pk), NOTHING)
        day_limit, month_limit = limits.get(scopes.project(project.pk), (None, None))
        held, by = tokens.get(project.pk, (0, None)), api_keys.get(project.pk, (0, None))
        rows.append(
            ProjectRow(
                project.pk,
                project.code,
                project.name,
                project.group.code if project.group else "",
                project.group.name if project.group else "",
                tuple(owners.get(project.pk, ())),
                tuple(project.tags),
                project.cost_centre,
                project.state,
                spent.today,
                spent.month,
                day_limit,
                month_limit,
                held[0],
                by[0],
                max((moment for moment in (held[1], by[1]) if moment), default=None),
            )
        )
    return rows


def _credentials(projects: Sequence[int], relation: str) -> dict[int, tuple[int, datetime | None]]:
    working = Q(**{f"{relation}__revoked__isnull": True}) & (
        Q(**{f"{relation}__expires__isnull": True}) | Q(**{f"{relation}__expires__gt": timezone.now()})
    )
    rows = Project.objects.filter(pk__in=projects).order_by().values("pk")
    counted = rows.annotate(number=Count(relation, filter=working), used=Max(f"{relation}__last_used"))
    return {row["pk"]: (row["number"], row["used"]) for row in counted}


def owners_of(project: Project) -> list[Person]:
    """Return the owners in the order in which they were added."""
    owners = Membership.objects.filter(project=project, role=Membership.Role.OWNER)
    return [membership.person for membership in owners.select_related("person").order_by("added", "pk")]


def memberships_of(project: Project) -> QuerySet[Membership]:
    """Return the memberships by name with their people."""
    return project.memberships.select_related("person")


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member with what they spend in the project and the limit that holds them there, in nano-units."""

    membership: Membership
    used: TodayAndMonth
    day_limit: int | None
    month_limit: int | None
    is_named: bool
    tokens: int


def member_rows(project: Project, memberships: Sequence[Membership], calendar: Calendar) -> list[MemberRow]:
    """Return the members with spend and limits; a limit named for somebody replaces the one for each user."""
    keys = {row.person_id: scopes.project_user(project.pk, row.person_id) for row in memberships}
    each = scopes.project_each_user(project.pk)
    used, limits = (
        selectors.today_and_month(keys.values(), calendar),
        selectors.spend_limits([*keys.values(), each]),
    )
    general = limits.get(each, (None, None))
    tokens = dict(
        project.tokens.active()
        .filter(person__in=keys)
        .order_by()
        .values_list("person")
        .annotate(number=Count("pk"))
    )
    rows = []
    for row in memberships:
        named = limits.get(keys[row.person_id], (None, None))
        day, month = (own if own is not None else of_all for own, of_all in zip(named, general, strict=True))
        is_named = keys[row.person_id] in limits
        spent = used.get(keys[row.person_id], NOTHING)
        rows.append(MemberRow(row, spent, day, month, is_named, tokens.get(row.person_id, 0)))
    return rows


def people_who_may_hold_tokens(project: Project) -> QuerySet[Person]:
    """Return the active people of the project: members, and members of the groups that have access."""
    members = Membership.objects.filter(project=project).values("person")
    through_groups = GroupMember.objects.filter(
        group__project_access__project=project, group__deleted=None
    ).values("person")
    # One set of people, so that the index of their key is used and not a condition over everybody.
    return Person.objects.active().filter(pk__in=members.union(through_groups)).order_by("name", "pk")


def number_of_people(project: Project) -> int:
    """Return how many people may hold tokens in the project."""
    return people_who_may_hold_tokens(project).order_by().count()


def activity_of(project: Project) -> QuerySet[AuditEntry]:
    """Return what was done to the project and in it, newest first."""
    return AuditEntry.objects.filter(project_id=project.pk).order_by("-occurred", "-id")


def month_of(scope_key: str, calendar: Calendar) -> Forecast:
    """Return the month of a scope so far, and what it comes to."""
    begin = min(calendar.first, calendar.today - timedelta(days=HISTORY))
    days = selectors.spend_by_day(scope_key, begin, calendar.today + timedelta(days=1))
    return forecast(days, calendar.today, calendar.day_per_mille, calendar.days_left)


MOST_CHOICES = 100


def choices(projects: ProjectQuerySet, chosen: str = "") -> list[tuple[int, str]]:
    """Return what a filter offers of the projects, by name: the first hundred, and the one that is chosen."""
    found = list(projects.order_by("name", "pk").values_list("pk", "name")[:MOST_CHOICES])
    if chosen.isdigit() and len(chosen) < 16 and int(chosen) not in dict(found):
        found += projects.filter(pk=int(chosen)).values_list("pk", "name")
    return found


def projects_meant(text: str, most: int = 500) -> list[int]:
    """Return the projects that a text means, as numbers: the one with that code, else those with it in their name."""
    exact = list(Project.objects.filter(code=text).values_list("pk", flat=True))
    named = Project.objects.filter(name__icontains=text).order_by("pk")
    return exact or list(named.values_list("pk", flat=True)[:most])

"""The list of projects: which, in what order, and the figures above it, without reading all of them into memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from portal.spend.selectors import Calendar
from projects.models import Membership, Project, ProjectQuerySet, ProjectStanding
from projects.selectors import ProjectRow, project_rows
from projects.standing import totals

NEAR, FULL = 800, 1000
"""Per mille of a spend limit: from where on a project is near it, and from where on it is blocked."""
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Figures:
    """What stands above the list: numbers of projects, and amounts in nano-units."""

    total: int
    archived: int
    active: int
    near: int
    blocked: int
    today: int
    month: int
    day_limits: int
    month_limits: int
    without_limit: int
    tokens: int


def standings(projects: ProjectQuerySet) -> QuerySet[ProjectStanding]:
    """Return the standings of the projects, with what a row shows of them."""
    found = ProjectStanding.objects.select_related("project", "project__group")
    return found.filter(project__in=projects) if projects.query.where else found


def figures(rows: QuerySet[ProjectStanding], *, is_all: bool = False) -> Figures:
    """Return the figures of all the rows together; `is_all` says that these are all projects there are."""
    by_state = totals(None if is_all else rows)
    active, every = by_state[Project.State.ACTIVE], by_state.values()
    return Figures(
        total=sum(each.projects for each in every),
        archived=by_state[Project.State.ARCHIVED].projects,
        active=active.projects,
        near=active.near,
        blocked=active.blocked,
        today=sum(each.today for each in every),
        month=sum(each.month for each in every),
        day_limits=active.day_limits,
        month_limits=active.month_limits,
        without_limit=active.without_limit,
        tokens=sum(each.tokens for each in every),
    )


def matching(
    rows: QuerySet[ProjectStanding],
    *,
    text: str = "",
    group: str = "",
    owner: str = "",
    state: str = "",
    tag: str = "",
) -> QuerySet[ProjectStanding]:
    """Return the rows that fit every filter given; ``active`` includes those near a limit or blocked.

    Archived projects are shown only when asked for.
    """
    if text:
        rows = rows.filter(Q(project__name__icontains=text) | Q(project__code__icontains=text))
    if group:
        rows = rows.filter(project__group__code=group)
    if owner:
        owners = Membership.objects.filter(role=Membership.Role.OWNER)
        named = owners.filter(Q(person__name__icontains=owner) | Q(person__email__iexact=owner))
        rows = rows.filter(project__in=named.values("project"))
    if tag:
        rows = rows.filter(project__tags__contains=[tag.lower()])
    if state in ("near", "blocked"):
        rows = rows.filter(project__state=Project.State.ACTIVE, share__gte=NEAR if state == "near" else FULL)
        return rows.filter(share__lt=FULL) if state == "near" else rows
    if state:
        return rows.filter(project__state=state)
    return rows.exclude(project__state=Project.State.ARCHIVED)


def shown(rows: Sequence[ProjectStanding], calendar: Calendar) -> list[ProjectRow]:
    """Return what a page shows of the rows, in their order; spend is read anew from the roll-ups."""
    return _in_order([row.pk for row in rows], calendar)


def all_shown(rows: QuerySet[ProjectStanding], calendar: Calendar) -> Iterator[ProjectRow]:
    """Yield what an export holds, a few hundred projects at a time."""
    ids: Iterable[int] = rows.select_related(None).values_list("pk", flat=True).iterator(CHUNK)
    batch: list[int] = []
    for pk in ids:
        batch.append(pk)
        if len(batch) == CHUNK:
            yield from _in_order(batch, calendar)
            batch = []
    yield from _in_order(batch, calendar)


def _in_order(ids: Sequence[int], calendar: Calendar) -> list[ProjectRow]:
    by_pk = {row.pk: row for row in project_rows(Project.objects.filter(pk__in=ids), calendar)}
    return [by_pk[pk] for pk in ids if pk in by_pk]

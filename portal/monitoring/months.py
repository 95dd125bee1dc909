"""Questions about months that are over: what their reports hold, what they come to now, what made the difference."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from django.db.models import Q, QuerySet, Sum

from groups.access import groups_with
from portal.accounts.access import can
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.lib.windows import next_day
from portal.spend import scopes
from portal.spend.models import LedgerRow, MonthLine, MonthReport
from portal.spend.months import moments
from portal.spend.selectors import usage_by_month, usage_of
from projects.access import projects_with
from projects.models import Project, ProjectQuerySet

PROJECTS, GROUPS = "projects", "groups"
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Sight:
    """How much of each month somebody sees: everything, or the projects and groups they look after."""

    person: Person
    is_all: bool

    @property
    def projects(self) -> ProjectQuerySet:
        """The projects in sight."""
        return projects_with(self.person, Right.SEE_REPORTS)

    def lines(self, kind: str) -> QuerySet[MonthLine]:
        """Return the lines of projects or of groups in sight, of all months."""
        if kind == GROUPS:
            lines = MonthLine.objects.filter(group__isnull=False).select_related("group")
            return lines if self.is_all else lines.filter(group__in=groups_with(self.person))
        lines = MonthLine.objects.filter(project__isnull=False).select_related("project__group")
        return lines if self.is_all else lines.filter(project__in=self.projects)

    @property
    def whole(self) -> QuerySet[MonthLine]:
        """The lines that add up to what is in sight."""
        return (
            MonthLine.objects.filter(scope_key=scopes.ORGANIZATION) if self.is_all else self.lines(PROJECTS)
        )

    @property
    def keys(self) -> list[str]:
        """The scopes whose usage adds up to what is in sight."""
        if self.is_all:
            return [scopes.ORGANIZATION]
        return [scopes.project(pk) for pk in self.projects.values_list("pk", flat=True)]


def sight_of(person: Person) -> Sight:
    """Return what the person sees."""
    return Sight(person, can(person, Right.SEE_REPORTS, everywhere=True))


@dataclass(frozen=True, slots=True)
class Month:
    """A month's report as somebody sees it: the amount frozen, and what it comes to now, in nano-units."""

    report: MonthReport
    calls: int
    frozen: int
    now: int

    @property
    def since(self) -> int:
        """What arrived since."""
        return self.now - self.frozen


def months_of(sight: Sight, reports: Sequence[MonthReport]) -> list[Month]:
    """Return what the reports come to for somebody; in two queries beside the one for what they see."""
    if not reports:
        return []
    found = sight.whole.filter(report__in=reports).order_by().values("report")
    frozen = {
        row["report"]: (row["number"], int(row["total"]))
        for row in found.annotate(total=Sum("spend"), number=Sum("calls"))
    }
    first, last = min(report.month for report in reports), max(report.month for report in reports)
    now = usage_by_month(sight.keys, first, next_day("month", last))
    return [Month(report, *frozen.get(report.pk, (0, 0)), now.get(report.month, 0)) for report in reports]


@dataclass(frozen=True, slots=True)
class Line:
    """One project or group of a month, and what it comes to now, in nano-units."""

    line: MonthLine
    now: int

    @property
    def since(self) -> int:
        """What arrived since."""
        return self.now - int(self.line.spend)


def matching(sight: Sight, report: MonthReport, kind: str, text: str) -> QuerySet[MonthLine]:
    """Return the lines of a month in sight, of projects or of groups, whose name or code holds the text."""
    lines, name = sight.lines(kind).filter(report=report), kind.removesuffix("s")
    if text:
        lines = lines.filter(
            Q(**{f"{name}__name__icontains": text}) | Q(**{f"{name}__code__icontains": text})
        )
    return lines


def with_now(report: MonthReport, lines: Sequence[MonthLine]) -> list[Line]:
    """Return the lines with what they come to now, in one query."""
    now = usage_of([line.scope_key for line in lines], report.month, next_day("month", report.month))
    return [Line(line, now[line.scope_key].spend if line.scope_key in now else 0) for line in lines]


def all_with_now(report: MonthReport, lines: QuerySet[MonthLine]) -> Iterator[Line]:
    """Yield the same for any number of lines, the highest amount first."""
    ids = list(lines.order_by("-spend", "-pk").values_list("pk", flat=True))
    for start in range(0, len(ids), _CHUNK):
        part = lines.filter(pk__in=ids[start : start + _CHUNK]).order_by("-spend", "-pk")
        yield from with_now(report, list(part))


def changes_since(sight: Sight, report: MonthReport) -> QuerySet[LedgerRow]:
    """Return the rows of the ledger that make the difference: what arrived for the month after it was frozen."""
    since, until = moments(report.month)
    rows = LedgerRow.objects.filter(
        moment__gte=since,
        moment__lt=until,
        day__gte=report.month,
        day__lt=next_day("month", report.month),
        arrived__gte=report.frozen,
    )
    return rows if sight.is_all else rows.filter(project__in=sight.projects.values("pk"))


@dataclass(frozen=True, slots=True)
class Change:
    """One of those rows, with the project it belongs to."""

    row: LedgerRow
    project: Project | None


def shown_changes(rows: Sequence[LedgerRow]) -> list[Change]:
    """Return the rows with their projects, in one query."""
    projects = Project.objects.in_bulk({row.project for row in rows})
    return [Change(row, projects.get(row.project)) for row in rows]


def month_of(year: int, number: int) -> MonthReport | None:
    """Return the report of a month; None when there is none, or no such month."""
    try:
        first = date(year, number, 1)
    except ValueError:
        return None
    return MonthReport.objects.filter(month=first).first()

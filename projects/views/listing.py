"""The list of projects, its download, and new projects."""

from decimal import Decimal

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from audit.services import record_list_export
from groups.models import Group
from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.accounts.services import person_in_directory
from portal.lib.errors import RuleBroken
from portal.lib.money import currency_sign, from_nano
from portal.lib.names import suggested_code
from portal.organization.selectors import current as current_organization
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_page_or_region, saved
from portal.web.pagination import Page, page_of
from portal.web.tables import Column, sorting
from projects import standing
from projects.access import bulk_changes_of, projects_with
from projects.envelopes import warnings_about
from projects.forms import ProjectFilters, ProjectForm
from projects.listing import all_shown, figures, matching, shown, standings
from projects.models import ProjectStanding
from projects.pages import clock
from projects.services import create_project

MOST_COUNTED = 10_000
COLUMNS = (
    Column("name", "Project", order=("project__name", "pk")),
    Column("group", "Group, owner", order=("group_name", "owner_name", "pk"), css="p3"),
    Column("today", "Today", order=("today", "pk"), css="p3", starts_descending=True),
    Column("month", "This month", order=("month", "pk"), starts_descending=True),
    Column("share", "Limit used", order=("share", "pk"), css="num p5", starts_descending=True),
    Column("credentials", "Tokens, keys", order=("tokens", "pk"), css="p4", starts_descending=True),
    Column(
        "used", "State, last used", order=("last_used", "pk"), css="p2", starts_descending=True, is_time=True
    ),
    Column("actions", "Actions", css="tight", is_hidden=True),
)
MOST_GROUPS = 100
HEADS = ("Code", "Project", "Group", "Owners", "State", "Today", "Daily limit", "This month", "Monthly limit")
MORE_HEADS = ("User tokens", "API keys", "Last used", "Cost centre", "Tags")


def filters_of(request: HttpRequest, query: QueryDict) -> ProjectFilters:
    """Return the filters of the list; a group is chosen from a list as long as there are not too many."""
    groups = Group.objects.current()
    if not can(person_of(request), Right.SEE_PROJECTS, everywhere=True):
        groups = groups.filter(pk__in=projects_with(person_of(request)).values("group"))
    found = list(groups.values_list("code", "name")[: MOST_GROUPS + 1])
    return ProjectFilters(query, groups=found if len(found) <= MOST_GROUPS else None)


def found_by(filters: ProjectFilters, rows: QuerySet[ProjectStanding]) -> QuerySet[ProjectStanding]:
    """Return the rows that the filters leave."""
    names = ("group", "owner", "state", "tag")
    return matching(rows, text=filters.value("q"), **{name: filters.value(name) for name in names})


def _counted(number: int, *, exact: bool) -> str:
    """Say how many there are; beyond some thousand nobody waits for an exact number."""
    if number > MOST_COUNTED and not exact:
        return f"More than {MOST_COUNTED:,} projects"
    return f"{number:,} project{'' if number == 1 else 's'}"


@require_GET
@require(Right.SEE_PROJECTS)
def project_list(request: HttpRequest) -> HttpResponse:
    """Show the projects the person may see."""
    standing.catch_up(most=100)
    visible = projects_with(person_of(request))
    rows, filters = standings(visible), filters_of(request, request.GET)
    table, found = sorting(COLUMNS, request.GET, default="-month"), found_by(filters, rows)
    above = figures(rows, is_all=not visible.query.where)
    number = found[: MOST_COUNTED + 1].count() if filters.is_active else above.total - above.archived
    page: Page[ProjectStanding] = page_of(found, order=table.order, cursor=request.GET.get("cursor", ""))
    context = {
        "filters": filters,
        "table": table,
        "page": Page(shown(page.rows, clock()), page.next, page.previous),
        "summary": f"Sorted by {table.words}",
        "region": "project-table",
        "count": _counted(number, exact=not filters.is_active),
        "number": number,
        "figures": above,
        "bulk_changes": bulk_changes_of(person_of(request)),
    }
    return render_page_or_region(request, "projects/list.html", "projects/_project_table.html", context)


@require_GET
@require(Right.SEE_PROJECTS)
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Download the list as filtered, in the order shown."""
    standing.catch_up(most=100)
    filters = filters_of(request, request.GET)
    table = sorting(COLUMNS, request.GET, default="-month")
    found = found_by(filters, standings(projects_with(person_of(request)))).order_by(*table.order)
    record_list_export(
        "projects", actor=actor_of(request), filters=request.GET.urlencode()[:1000], rows=found.count()
    )

    def amount(nano: int | None) -> Decimal | None:
        return None if nano is None else from_nano(nano)

    lines = (
        [row.code, row.name, row.group_name, ", ".join(row.owners), row.standing]
        + [amount(each) for each in (row.today, row.day_limit, row.month, row.month_limit)]
        + [row.tokens, row.keys, row.last_used, row.cost_centre, ", ".join(row.tags)]
        for row in all_shown(found, clock())
    )
    return csv_response(f"projects-{clock().today}", [*HEADS, *MORE_HEADS], lines)


@require_http_methods(["GET", "POST"])
@require(Right.CREATE_PROJECT)
def new(request: HttpRequest) -> HttpResponse:
    """Create a project."""
    person = person_of(request)
    needs_group = not can(person, Right.CREATE_PROJECT, everywhere=True)
    initial = {"group": request.GET.get("group", "")}
    form = ProjectForm(posted(request), person=person, needs_group=needs_group, initial=initial)
    if form.is_valid():
        data, actor = form.cleaned_data, actor_of(request)
        try:
            project = create_project(
                code=data["code"] or suggested_code(data["name"]),
                name=data["name"],
                group=data["group"],
                owners=[person_in_directory(found=found, actor=actor) for found in data["owners"]],
                daily_limit=None if data["daily_limit"] is None else from_nano(data["daily_limit"]),
                monthly_limit=None if data["monthly_limit"] is None else from_nano(data["monthly_limit"]),
                description=data["description"],
                cost_centre=data["cost_centre"],
                tags=data["tags"],
                allowed_models=data["allowed_models"],
                actor=actor,
            )
            toast = ". ".join(["Project created", *warnings_about([project.pk])])
            return saved(request, to=reverse("projects:detail", args=[project.code]), toast=toast)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
    sign = currency_sign(current_organization().currency)
    return render(
        request, "projects/new.html", {"form": form, "sign": sign}, status=422 if form.errors else 200
    )


@require_GET
@require(Right.CREATE_PROJECT)
def suggest(request: HttpRequest) -> HttpResponse:
    """Answer the code field with a code made from the name, unless the person has typed another."""
    typed, before = request.GET.get("code", ""), request.GET.get("suggested", "")
    code = suggested_code(request.GET.get("name", ""))
    kept = typed if typed and typed != before else code
    form = ProjectForm(initial={"code": kept}, person=person_of(request), needs_group=False)
    return render(request, "projects/_code_field.html", {"form": form, "suggested": code})

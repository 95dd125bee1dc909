"""The list of projects, its download, and new projects."""

from decimal import Decimal

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.accounts.services import person_in_directory
from portal.lib.errors import RuleBroken
from portal.lib.money import currency_sign, from_nano
from portal.lib.names import suggested_code
from portal.organization.selectors import current as current_organization
from portal.spend import scopes, selectors
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_page_or_region, saved
from portal.web.pagination import page_of
from portal.web.tables import Column, sorting
from projects.access import projects_with
from projects.forms import ProjectFilters, ProjectForm
from projects.pages import clock
from projects.selectors import ProjectRow, matching, project_rows
from projects.services import create_project

COLUMNS = (
    Column("name", "Project", order=("name",)),
    Column("group", "Group and owner", order=("group_name", "name"), css="p3"),
    Column("today", "Today", order=("today",), css="p3", starts_descending=True),
    Column("month", "This month", order=("month",), starts_descending=True),
    Column("credentials", "Credentials", css="p4"),
    Column("used", "State", order=("last_used",), css="p2", starts_descending=True),
    Column("actions", "Actions", css="tight", is_hidden=True),
)


def _found(request: HttpRequest) -> tuple[list[ProjectRow], list[ProjectRow], ProjectFilters]:
    rows = project_rows(projects_with(person_of(request)), clock())
    groups = sorted(
        {(row.group_code, row.group_name) for row in rows if row.group_code}, key=lambda pair: pair[1]
    )
    owners = sorted({owner for row in rows for owner in row.owners})
    filters = ProjectFilters(request.GET, groups=groups, owners=owners)
    text, state = filters.value("q"), filters.value("state")
    chosen = {"group": filters.value("group"), "owner": filters.value("owner")}
    return rows, matching(rows, text=text, state=state, **chosen), filters


@require_GET
@require(Right.SEE_PROJECTS)
def project_list(request: HttpRequest) -> HttpResponse:
    """Show the projects the person may see."""
    rows, found, filters = _found(request)
    table = sorting(COLUMNS, request.GET, default="-month")
    everything = can(person_of(request), Right.SEE_PROJECTS, everywhere=True)
    limit = selectors.spend_limits([scopes.ORGANIZATION]).get(scopes.ORGANIZATION, (None, None))[1]
    context = {
        "filters": filters,
        "table": table,
        "page": page_of(found, order=(*table.order, "code"), cursor=request.GET.get("cursor", "")),
        "region": "project-table",
        "count": f"{len(found)} project{'' if len(found) == 1 else 's'}",
        "total": len(rows),
        "active": sum(row.state == "active" for row in rows),
        "near": sum(row.standing == "near" for row in rows),
        "blocked": sum(row.standing == "blocked" for row in rows),
        "month": sum(row.month for row in rows),
        "month_limit": limit if everything else None,
    }
    return render_page_or_region(request, "projects/list.html", "projects/_project_table.html", context)


@require_GET
@require(Right.SEE_PROJECTS)
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Download the list as filtered."""
    _, found, _ = _found(request)
    heads = [
        "Code",
        "Project",
        "Group",
        "Owners",
        "State",
        "Today",
        "Daily limit",
        "This month",
        "Monthly limit",
    ]
    heads += ["User tokens", "API keys", "Last used"]

    def amount(nano: int | None) -> Decimal | None:
        return None if nano is None else from_nano(nano)

    lines = (
        [row.code, row.name, row.group_name, ", ".join(row.owners), row.standing]
        + [amount(each) for each in (row.today, row.day_limit, row.month, row.month_limit)]
        + [row.tokens, row.keys, row.last_used]
        for row in sorted(found, key=lambda row: -row.month)
    )
    return csv_response(f"projects-{clock().today}", heads, lines)


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
            return saved(request, to=reverse("projects:detail", args=[project.code]), toast="Project created")
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

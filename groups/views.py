"""Groups: the list, new ones, one with its projects, members and limits, and its end."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from groups.access import get_group, groups_with, rights_in
from groups.forms import GroupFilters, GroupForm
from groups.lookup import look_up
from groups.models import Group
from groups.pages import sheet_of
from groups.selectors import group_rows, number_of_members, people_of
from groups.services import create_group, delete_group
from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.decision.forms import LimitForm
from portal.decision.limits import chain, deciding
from portal.lib.errors import RuleBroken, Unavailable
from portal.lib.names import suggested_code
from portal.organization.selectors import current as current_organization
from portal.spend import scopes
from portal.spend.selectors import calendar, limits_on
from portal.web.forms import posted
from portal.web.htmx import render_dialog, render_page_or_region, saved
from portal.web.pagination import page_of
from portal.web.tables import Column, sorting
from projects.models import Project
from projects.selectors import project_rows

COLUMNS = (
    Column("name", "Group", order=("name",)),
    Column("projects", "Projects", order=("projects",), css="num p2", starts_descending=True),
    Column("members", "Members known", order=("members",), css="num p3", starts_descending=True),
    Column("today", "Today", order=("today",), css="p3", starts_descending=True),
    Column("month", "This month", order=("month",), starts_descending=True),
    Column("directory", "Entra ID", css="p4"),
)


@require_GET
@require(Right.SEE_GROUPS)
def group_list(request: HttpRequest) -> HttpResponse:
    """Show the groups with their spend."""
    filters, table = GroupFilters(request.GET), sorting(COLUMNS, request.GET, default="-month")
    rows = group_rows(groups_with(person_of(request)), calendar(current_organization().time_zone))
    text = filters.value("q").casefold()
    found = [row for row in rows if text in row.name.casefold() or text in row.code]
    context = {
        "filters": filters,
        "table": table,
        "page": page_of(found, order=(*table.order, "code"), cursor=request.GET.get("cursor", "")),
        "region": "group-table",
        "count": f"{len(found)} group{'' if len(found) == 1 else 's'}",
    }
    return render_page_or_region(request, "groups/list.html", "groups/_group_table.html", context)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_GROUPS)
def new(request: HttpRequest) -> HttpResponse:
    """Register a group and read its members."""
    form = GroupForm(posted(request))
    if form.is_valid():
        entra, actor = form.cleaned_data["entra"], actor_of(request)
        name = form.cleaned_data["name"] or entra.name
        try:
            group = create_group(
                code=form.cleaned_data["code"] or suggested_code(name),
                name=name,
                entra_id=entra.oid if entra else None,
                actor=actor,
            )
        except RuleBroken as broken:
            form.add_error({"entra_id": "entra"}.get(broken.field or "", broken.field), broken.message)
        else:
            _try_look_up(group, request)
            return saved(
                request, to=reverse("groups:detail", args=[group.code]), toast=f"Group {name} created"
            )
    return render(request, "groups/new.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@require(Right.SEE_GROUPS)
def detail(request: HttpRequest, code: str) -> HttpResponse:
    """Show a group; those who may set limits change its own."""
    group = get_group(request, code, need=Right.SET_LIMITS if request.method == "POST" else Right.SEE_GROUPS)
    organization, here = current_organization(), reverse("groups:detail", args=[code])
    now, sheet = calendar(organization.time_zone), sheet_of(group, organization)
    form = LimitForm(posted(request), sheet=sheet, currency=organization.currency)
    if form.is_valid() and form.save(actor=actor_of(request)):
        return saved(request, to=here, toast=f"Limits saved for {group.name}")
    levels, can = chain(sheet.places, now), rights_in(person_of(request), group)
    owned = Project.objects.filter(group=group).exclude(state=Project.State.ARCHIVED)
    context: dict[str, Any] = {
        "group": group,
        "can": can,
        "own": levels[-1],
        "levels": levels,
        "deciding": deciding(levels),
        "others": [(level, limit) for level in levels for limit in level.others],
        "projects": sorted(project_rows(owned, now), key=lambda row: -row.month),
        "archived": group.projects.filter(state=Project.State.ARCHIVED).count(),
        "members": people_of(group)[:50],
        "number": number_of_members(group),
    }
    if can["set_limits"]:
        context |= {
            "form": form,
            "form_title": "Change this group’s limits",
            "preview": form.preview(now),
            "preview_url": reverse("groups:preview", args=[code]),
            "back": here,
        }
    return render(request, "groups/detail.html", context, status=422 if form.errors else 200)


@require_POST
@require(Right.SEE_GROUPS)
def preview(request: HttpRequest, code: str) -> HttpResponse:
    """Show what saving the typed limits would do; nothing is saved."""
    group, organization = get_group(request, code, need=Right.SET_LIMITS), current_organization()
    form = LimitForm(request.POST, sheet=sheet_of(group, organization), currency=organization.currency)
    form.is_valid()
    context = {"form": form, "preview": form.preview(calendar(organization.time_zone))}
    return render(request, "components/_limit_preview.html", context)


@require_POST
@require(Right.SEE_GROUPS)
def look_up_members(request: HttpRequest, code: str) -> HttpResponse:
    """Read the members of the group from the directory now."""
    group = get_group(request, code, need=Right.MANAGE_GROUPS)
    if _try_look_up(group, request):
        messages.success(request, f"Members of {group.name} read from Entra ID")
    return redirect("groups:detail", code=code)


@require_http_methods(["GET", "POST"])
@require(Right.SEE_GROUPS)
def delete(request: HttpRequest, code: str) -> HttpResponse:
    """Delete a group that owns no project, after its code was typed."""
    group = get_group(request, code, need=Right.MANAGE_GROUPS)
    error, owned = "", group.projects.order_by("name")
    if request.method == "POST":
        if request.POST.get("confirm", "").strip() != group.code:
            error = f"Type {group.code}, as it stands above."
        else:
            try:
                delete_group(group=group, actor=actor_of(request))
                return saved(request, to=reverse("groups:list"), toast=f"Group {group.name} deleted")
            except RuleBroken as broken:
                error = broken.message
    context = {
        "group": group,
        "owned": owned,
        "access": group.project_access.select_related("project").order_by("project__name"),
        "number": number_of_members(group),
        "limits": len(limits_on([scopes.group(group.pk)]).get(scopes.group(group.pk), [])),
        "code": group.code,
        "noun": "group",
        "keep": "Keep group",
        "danger": "Delete group",
        "error": error,
    }
    template = "groups/owns_projects_dialog.html" if owned else "groups/delete_dialog.html"
    return render_dialog(
        request,
        template,
        context,
        title=f"Delete group {group.name}?",
        back=reverse("groups:detail", args=[code]),
        status=422 if error else 200,
    )


def _try_look_up(group: Group, request: HttpRequest) -> bool:
    """Read the members; the directory being away is said, and the job tries again."""
    try:
        look_up(group, actor=actor_of(request))
    except Unavailable as error:
        messages.warning(request, f"The members could not be read: {error}")
        return False
    return True

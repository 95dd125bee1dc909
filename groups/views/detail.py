"""One group: its projects and limits, its members, and the projects it has access to."""

from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.services import record_list_export
from groups.access import get_group
from groups.forms import MemberFilters
from groups.pages import clock, page_context, sheet_of
from groups.selectors import people_of
from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.approvals.selectors import waiting_raises
from portal.decision.forms import LimitForm
from portal.decision.limits import chain, deciding
from portal.organization.selectors import current as current_organization
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_page_or_region, saved
from portal.web.pagination import Page, page_of
from projects import standing
from projects.listing import shown, standings
from projects.models import Project

TOP = 25


@require_http_methods(["GET", "POST"])
@require(Right.SEE_GROUPS)
def detail(request: HttpRequest, code: str) -> HttpResponse:
    """Show what the group owns and spends; those who may set limits change its own."""
    group = get_group(request, code, need=Right.SET_LIMITS if request.method == "POST" else Right.SEE_GROUPS)
    organization, here = current_organization(), reverse("groups:detail", args=[code])
    now, sheet = clock(), sheet_of(group, organization, person_of(request))
    form = LimitForm(posted(request), sheet=sheet, currency=organization.currency)
    if form.is_valid() and form.save(actor=actor_of(request)):
        return saved(request, to=here, toast=form.toast(f"Limits saved for {group.name}"))
    standing.catch_up()
    levels = chain(sheet.places, now)
    owned = standings(Project.objects.filter(group=group)).exclude(project__state=Project.State.ARCHIVED)
    context: dict[str, Any] = page_context(request, group, "detail") | {
        "own": levels[-1],
        "levels": levels,
        "deciding": deciding(levels),
        "others": [(level, limit) for level in levels for limit in level.others],
        "projects": shown(list(owned.order_by("-month", "-pk")[:TOP]), now),
        "owned": owned.count(),
        "archived": group.projects.filter(state=Project.State.ARCHIVED).count(),
        "access": group.project_access.select_related("project").order_by("project__name", "pk")[:TOP],
        "accessible": group.project_access.count(),
        "raises": waiting_raises(group=group.pk),
        "raise_of": f"group={group.code}",
    }
    if context["can"]["set_limits"]:
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
    sheet = sheet_of(group, organization, person_of(request))
    form = LimitForm(request.POST, sheet=sheet, currency=organization.currency)
    form.is_valid()
    return render(request, "components/_limit_preview.html", {"form": form, "preview": form.preview(clock())})


@require_GET
@require(Right.SEE_GROUPS)
def members(request: HttpRequest, code: str) -> HttpResponse:
    """Show whom the directory lists in the group."""
    group, filters = get_group(request, code), MemberFilters(request.GET)
    found = people_of(group)
    if text := filters.value("q"):
        found = found.filter(Q(name__icontains=text) | Q(email__icontains=text))
    number = found.count()
    page: Page[Person] = page_of(found, order=("name",), cursor=request.GET.get("cursor", ""))
    context = page_context(request, group, "members") | {
        "filters": filters,
        "page": page,
        "summary": "Sorted by name",
        "region": "group-members",
        "count": f"{number:,} member{'' if number == 1 else 's'}",
    }
    return render_page_or_region(request, "groups/members.html", "groups/_members.html", context)


@require_GET
@require(Right.SEE_GROUPS)
def export_members(request: HttpRequest, code: str) -> StreamingHttpResponse:
    """Download whom the directory lists in the group."""
    group, people = get_group(request, code), people_of(get_group(request, code))
    record_list_export(
        "group members", actor=actor_of(request), filters=f"group={group.code}", rows=people.count()
    )
    lines = ([person.name, person.email, person.is_active] for person in people.iterator(500))
    return csv_response(f"members-of-{group.code}-{clock().today}", ["Name", "Address", "Active"], lines)

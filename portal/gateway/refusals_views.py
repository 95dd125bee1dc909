"""Refused requests: the list, and why one of them was refused."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from portal.accounts.access import person_of, require
from portal.accounts.policy import Right
from portal.gateway import refusals
from portal.gateway.refusals_forms import RefusalFilters
from portal.gateway.refusals_story import story_of, where_to_raise
from portal.organization.selectors import current as current_organization
from portal.spend.models import Refusal
from portal.web.htmx import render_page_or_region, wants_region
from portal.web.pagination import Page, page_of
from projects.access import projects_with
from projects.selectors import choices

REGION = "refusal-table"


@require_GET
@require(Right.SEE_REFUSALS)
def refusal_list(request: HttpRequest) -> HttpResponse:
    """Show the refused requests the person may see, newest first, and the reasons of the last 24 hours."""
    person, zone, now = person_of(request), current_organization().zone, timezone.now()
    visible = refusals.refusals_visible_to(person)
    projects = choices(projects_with(person, Right.SEE_REFUSALS, own=True), request.GET.get("project", ""))
    filters = RefusalFilters(request.GET)
    filters.offer(projects, refusals.choices_of(refusals.in_period(visible, filters.wanted(now, zone))))
    found = refusals.matching(visible, filters.wanted(now, zone))
    page: Page[Refusal] = page_of(
        found, order=("-occurred", "-decision_id"), cursor=request.GET.get("cursor", "")
    )
    number = len(page.rows)
    context = {
        "filters": filters,
        "page": page,
        "rows": refusals.rows_of(page.rows),
        "region": REGION,
        "count": f"{number} shown",
    }
    if not wants_region(request):
        context["reasons"] = refusals.reasons_of(visible)
    return render_page_or_region(request, "gateway/refusals.html", "gateway/_refusals_table.html", context)


@require_GET
@require(Right.SEE_REFUSALS)
def refusal(request: HttpRequest, decision_id: UUID) -> HttpResponse:
    """Show why one request was refused: 404 outside what the person may see, a moment's wait when it is too new."""
    person = person_of(request)
    found = refusals.refusals_visible_to(person).filter(pk=decision_id).first()
    if found is None:
        if not refusals.may_still_come(decision_id):
            raise Http404
        return render(request, "gateway/refusal_coming.html", {"decision_id": decision_id})
    story = story_of(found, person, current_organization())
    context = {"story": story, "raise_href": where_to_raise(story, person)}
    return render(request, "gateway/refusal.html", context)

"""Alerts of the person who is signed in."""

from urllib.parse import urlencode

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from portal.accounts.access import person_of, require
from portal.accounts.policy import Right
from portal.notifications.access import alerts_of, page_of_limit
from portal.notifications.forms import AlertFilters
from portal.notifications.models import Delivery
from portal.notifications.services import mark_seen
from portal.web.htmx import render_page_or_region, saved
from portal.web.pagination import Page, page_of
from portal.web.tables import CURSOR

REGION = "alert-table"


@require_GET
@require(Right.SEE_MONITORING)
def alert_list(request: HttpRequest) -> HttpResponse:
    """List what the person was told, the newest first."""
    filters, found = AlertFilters(request.GET), alerts_of(person_of(request))
    unseen = found.filter(seen=None).count()
    if text := filters.value("q"):
        found = found.filter(Q(message__title__icontains=text) | Q(message__text__icontains=text))
    if kind := filters.value("kind"):
        found = found.filter(message__kind=kind)
    if seen := filters.value("seen"):
        found = found.filter(seen__isnull=seen == "no")
    count = found.count()
    page: Page[Delivery] = page_of(found, order=("-id",), cursor=request.GET.get(CURSOR, ""))
    context = {
        "filters": filters,
        "page": page,
        "region": REGION,
        "count": f"{count:,} alert{'' if count == 1 else 's'}",
        "unseen": unseen,
        "query": urlencode({name: value for name, value in request.GET.items() if name != CURSOR}),
    }
    return render_page_or_region(
        request, "notifications/alerts.html", "notifications/_alert_table.html", context
    )


@require_POST
@require(Right.SEE_MONITORING)
def seen(request: HttpRequest) -> HttpResponse:
    """Mark alerts as seen: those that are named, or all up to the newest that the page showed."""
    chosen = [int(text) for text in request.POST.getlist("alert") if text.isascii() and text.isdigit()][:1000]
    last = request.POST.get("until", "")
    number = mark_seen(
        person_of(request), chosen, until=int(last) if last.isascii() and last.isdigit() else None
    )
    query = request.GET.urlencode()
    back = reverse("notifications:alerts") + (f"?{query}" if query else "")
    words = "No alert was left to mark" if not number else f"{number} marked as seen"
    return saved(request, back, words)


@require_GET
@require(Right.SEE_MONITORING)
def limit(request: HttpRequest, pk: int) -> HttpResponse:
    """Lead to the page of a limit, wherever what it lies on is by now."""
    return HttpResponseRedirect(page_of_limit(request, pk))

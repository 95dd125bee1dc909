"""Deliveries: what was sent to whom, what waits, what failed, and trying again."""

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.notifications.access import get_delivery
from portal.notifications.bodies import address_of, mail
from portal.notifications.forms import DeliveryFilters
from portal.notifications.models import Delivery
from portal.notifications.webhooks import retry as try_again
from portal.organization.pages import tabs
from portal.web.htmx import render_page_or_region, saved
from portal.web.pagination import Page, page_of
from portal.web.tables import CURSOR

REGION = "delivery-table"


@require_GET
@require(Right.SEE_SETTINGS)
def delivery_list(request: HttpRequest) -> HttpResponse:
    """List the deliveries, the newest first."""
    filters = DeliveryFilters(request.GET)
    found = Delivery.objects.select_related("message", "person", "webhook")
    if state := filters.value("state"):
        found = found.filter(state=state)
    if channel := filters.value("channel"):
        found = found.filter(channel=channel)
    if text := filters.value("q"):
        found = found.filter(
            Q(message__title__icontains=text)
            | Q(person__name__icontains=text)
            | Q(person__email__icontains=text)
            | Q(webhook__name__icontains=text)
        )
    count = found.count()
    page: Page[Delivery] = page_of(found, order=("-id",), cursor=request.GET.get(CURSOR, ""))
    context = {
        "tabs": tabs(request, "notifications"),
        "filters": filters,
        "page": page,
        "region": REGION,
        "count": f"{count:,} deliver{'y' if count == 1 else 'ies'}",
        "may_change": can(person_of(request), Right.MANAGE_ORGANIZATION),
    }
    return render_page_or_region(
        request, "notifications/deliveries.html", "notifications/_delivery_table.html", context
    )


@require_GET
@require(Right.SEE_SETTINGS)
def delivery(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one delivery: the text that is sent, and how far it has come."""
    found = get_delivery(pk)
    context = {
        "tabs": tabs(request, "notifications"),
        "delivery": found,
        "text": mail(found.message) if found.channel == Delivery.Channel.EMAIL else found.message.text,
        "href": address_of(found.message),
        "may_change": can(person_of(request), Right.MANAGE_ORGANIZATION),
    }
    return render(request, "notifications/delivery.html", context)


@require_POST
@require(Right.MANAGE_ORGANIZATION)
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Try a delivery again at once."""
    found = get_delivery(pk)
    try:
        try_again(found, actor=actor_of(request))
        toast = "It is sent again within seconds"
    except RuleBroken as broken:
        toast = f"Not sent again. {broken.message}"
    return saved(request, to=reverse("notifications:delivery", args=[pk]), toast=toast)

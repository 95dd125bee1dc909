"""Settings → Gateways: the list, registering one, giving it another secret, revoking it."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.credentials.selectors import with_status
from portal.gateway.forms import ConfirmForm, GatewayFilters, RegisterForm
from portal.gateway.models import Gateway
from portal.gateway.services import (
    register_gateway,
    resume_gateway,
    revoke_gateway,
    rotate_gateway,
    suspend_gateway,
)
from portal.lib.errors import RuleBroken
from portal.organization.pages import tabs
from portal.web.forms import posted
from portal.web.htmx import render_dialog, render_page_or_region, saved
from portal.web.pagination import Page, page_of
from portal.web.tables import CURSOR, Column, sorting

REGION = "gateway-table"
COLUMNS = (
    Column("name", "Gateway", order=("name",)),
    Column("hint", "Secret", css="p3"),
    Column("used", "Last seen", order=("last_used",), starts_descending=True, is_time=True),
    Column("created", "Registered", order=("created",), css="p3", starts_descending=True, is_time=True),
    Column("status", "Status", css="p2"),
    Column("actions", "Actions", css="tight", is_hidden=True),
)


@require_GET
@require(Right.SEE_SETTINGS)
def gateway_list(request: HttpRequest) -> HttpResponse:
    """List the gateways, those that ask at the moment first."""
    filters, table = GatewayFilters(request.GET), sorting(COLUMNS, request.GET, default="-used")
    found = with_status(Gateway.objects.all(), filters.value("status"))
    if text := filters.value("q"):
        found = found.filter(name__icontains=text) | found.filter(hint__iendswith=text)
    count = found.count()
    page: Page[Gateway] = page_of(found, order=table.order, cursor=request.GET.get(CURSOR, ""))
    context = {
        "tabs": tabs(request, "gateways"),
        "filters": filters,
        "table": table,
        "page": page,
        "region": REGION,
        "summary": f"Sorted by {table.words}",
        "count": f"{count:,} gateway{'' if count == 1 else 's'}",
        "may_manage": can(person_of(request), Right.MANAGE_GATEWAYS),
    }
    return render_page_or_region(request, "gateway/list.html", "gateway/_gateway_table.html", context)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_GATEWAYS)
def register(request: HttpRequest) -> HttpResponse:
    """Register a gateway; its secret is in this one answer and nowhere else."""
    form = RegisterForm(posted(request))
    if form.is_valid():
        try:
            gateway, secret = register_gateway(actor=actor_of(request), **form.cleaned_data)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return _issued(request, gateway, secret, f"Gateway {gateway.name} registered")
    return render_dialog(
        request,
        "gateway/register_dialog.html",
        {"form": form},
        title="Register a gateway",
        back=reverse("gateway:list"),
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_GATEWAYS)
def rotate(request: HttpRequest, key_id: str) -> HttpResponse:
    """Give a gateway another secret, after saying that the old one ends at once."""
    gateway, form = get_object_or_404(Gateway, key_id=key_id), ConfirmForm(posted(request))
    if form.is_valid():
        try:
            gateway, secret = rotate_gateway(gateway=gateway, actor=actor_of(request), **form.cleaned_data)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return _issued(request, gateway, secret, f"Another secret for {gateway.name}")
    return _confirm(request, "rotate", gateway, form, f"Give {gateway.name} another secret?")


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_GATEWAYS)
def revoke(request: HttpRequest, key_id: str) -> HttpResponse:
    """Revoke a gateway for good, after saying what stops."""
    gateway, form = get_object_or_404(Gateway, key_id=key_id), ConfirmForm(posted(request))
    if form.is_valid():
        revoke_gateway(gateway=gateway, actor=actor_of(request), **form.cleaned_data)
        return saved(request, reverse("gateway:list"), f"Gateway {gateway.name} revoked", refresh=[REGION])
    return _confirm(request, "revoke", gateway, form, f"Revoke gateway {gateway.name}?")


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_GATEWAYS)
def suspend(request: HttpRequest, key_id: str) -> HttpResponse:
    """Switch a gateway off for the time being."""
    return _switch(request, key_id, "suspend", suspend_gateway)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_GATEWAYS)
def resume(request: HttpRequest, key_id: str) -> HttpResponse:
    """Switch a gateway on again."""
    return _switch(request, key_id, "resume", resume_gateway)


def _switch(request: HttpRequest, key_id: str, name: str, service: Callable[..., Gateway]) -> HttpResponse:
    gateway, form = get_object_or_404(Gateway, key_id=key_id), ConfirmForm(posted(request))
    if form.is_valid():
        try:
            service(gateway=gateway, actor=actor_of(request), **form.cleaned_data)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            done = f"Gateway {gateway.name} {'suspended' if name == 'suspend' else 'resumed'}"
            return saved(request, reverse("gateway:list"), done, refresh=[REGION])
    return _confirm(request, name, gateway, form, f"{name.title()} gateway {gateway.name}?")


def _issued(request: HttpRequest, gateway: Gateway, secret: str, title: str) -> HttpResponse:
    snippet = f"LLM_PORTAL_URL={settings.PORTAL_BASE_URL}\nLLM_PORTAL_GATEWAY_SECRET=…the secret above…"
    response = render_dialog(
        request,
        "gateway/issued_dialog.html",
        {"gateway": gateway, "secret": secret, "label": "Gateway secret", "snippet": snippet},
        title=title,
        back=reverse("gateway:list"),
        refresh=[REGION],
    )
    response["Cache-Control"] = "no-store"
    return response


def _confirm(
    request: HttpRequest, name: str, gateway: Gateway, form: ConfirmForm, title: str
) -> HttpResponse:
    return render_dialog(
        request,
        f"gateway/{name}_dialog.html",
        {"form": form, "gateway": gateway},
        title=title,
        back=reverse("gateway:list"),
        status=422 if form.errors else 200,
    )

"""Settings → Price book: prices in force, the history of one, setting one, importing the published ones."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.approvals.models import Request
from portal.approvals.prices import needs_second_person, set_or_ask
from portal.decision import imports
from portal.lib.errors import RuleBroken
from portal.organization.models import Organization
from portal.organization.pages import tabs
from portal.organization.selectors import current as current_organization
from portal.spend import price_book
from portal.spend.forms import CONFIRMATION, ImportForm, PriceFilters, PriceForm
from portal.spend.models import Price
from portal.spend.price_book import ImportPreview
from portal.spend.selectors import calendar
from portal.web.forms import posted
from portal.web.htmx import render_page_or_region, saved
from portal.web.pagination import Page, page_of
from portal.web.tables import CURSOR, Column, sorting

COLUMNS = (
    Column("model", "Model", order=("model",)),
    Column("input", "Input", order=("input",), css="num", starts_descending=True),
    Column("cached", "Cached input", css="num p3"),
    Column("write", "Cache write", css="num p4"),
    Column("output", "Output", order=("output",), css="num", starts_descending=True),
    Column("context", "Context", css="num p4"),
    Column("since", "Since", order=("effective",), css="p3", starts_descending=True, is_time=True),
    Column("actions", "Actions", css="tight p2", is_hidden=True),
)
QUEUE = 20


@require_GET
@require(Right.SEE_SETTINGS)
def prices(request: HttpRequest) -> HttpResponse:
    """List the price of each model, and the models that have none."""
    organization, filters = current_organization(), PriceFilters(request.GET)
    table = sorting(COLUMNS, request.GET, default="model")
    found = price_book.shown_prices(
        text=filters.value("q"), source=filters.value("source"), models=_recent(filters, organization)
    )
    page: Page[Price] = page_of(found, order=table.order, cursor=request.GET.get(CURSOR, ""))
    count, queue = found.count(), price_book.unpriced_models()
    context = {
        "tabs": tabs(request, "prices"),
        "filters": filters,
        "table": table,
        "page": Page(price_book.price_rows(page.rows, organization.currency), page.next, page.previous),
        "region": "price-table",
        "summary": f"Sorted by {table.words}",
        "count": f"{count:,} model{'' if count == 1 else 's'}",
        "may_manage": can(person_of(request), Right.MANAGE_PRICES),
        "unpriced": queue[:QUEUE],
        "waiting": queue.count(),
        "organization": organization,
    }
    return render_page_or_region(request, "spend/prices.html", "spend/_price_table.html", context)


@require_GET
@require(Right.SEE_SETTINGS)
def history(request: HttpRequest) -> HttpResponse:
    """Show every version of one model's price."""
    model, organization = request.GET.get("model", ""), current_organization()
    versions = Price.objects.filter(model=model) if "\x00" not in model else Price.objects.none()
    page: Page[Price] = page_of(versions, order=("-effective", "-pk"), cursor=request.GET.get(CURSOR, ""))
    if not page.rows:
        raise Http404("This model has no price.")
    rows = price_book.history_rows(page.rows, model, organization.currency)
    context = {
        "model": model,
        "page": Page(rows, page.next, page.previous),
        "aliases": price_book.price_rows(page.rows[:1], organization.currency)[0].aliases,
        "organization": organization,
        "may_manage": can(person_of(request), Right.MANAGE_PRICES),
    }
    return render_page_or_region(request, "spend/history.html", "spend/_history_table.html", context)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_PRICES)
def new_price(request: HttpRequest) -> HttpResponse:
    """Set a price of a model, the one in the address or any other."""
    model, organization = request.GET.get("model", "").replace("\x00", ""), current_organization()
    form = PriceForm(
        posted(request), model=model, currency=organization.currency, zone=organization.time_zone
    )
    if form.is_valid():
        try:
            made = set_or_ask(requester=person_of(request), actor=actor_of(request), **form.values())
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            if isinstance(made, Request) and made.is_waiting:
                there = reverse("approvals:detail", args=[made.pk])
                return saved(request, to=there, toast="Asked for: a second person decides")
            model = form.cleaned_data["model"]
            return saved(request, to=_history_of(model), toast=f"Price of {model} set")
    context = {
        "form": form,
        "before": price_book.price_in_force(model),
        "back": _history_of(model) if Price.objects.filter(model=model).exists() else reverse("spend:prices"),
    }
    return render(request, "spend/new_price.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_PRICES)
def import_published(request: HttpRequest) -> HttpResponse:
    """Show what importing the published prices would change, and import them."""
    organization = current_organization()
    is_dollar = organization.currency == "USD"
    form, preview = _import_form(request, organization)
    if request.method == "POST" and form.is_valid() and preview:
        if preview.large and form.cleaned_data["sure"] != CONFIRMATION:
            form.add_error("sure", f"Look at the changes, then type {CONFIRMATION}.")
        elif needs_second_person():
            form.add_error(
                None, "A second person decides about prices: set them one by one, or run import_prices."
            )
        else:
            done = imports.import_prices(
                rate=form.cleaned_data["rate"], actor=actor_of(request), reason=form.cleaned_data["reason"]
            )
            toast = f"{done.new:,} new prices, {done.changed:,} changed, {done.aliases:,} aliases"
            return saved(request, to=reverse("spend:prices"), toast=toast)
    context = {"form": form, "preview": preview, "is_dollar": is_dollar, "organization": organization}
    return render_page_or_region(
        request,
        "spend/import.html",
        "spend/_import_preview.html",
        context,
        status=422 if form.errors else 200,
    )


def _import_form(request: HttpRequest, organization: Organization) -> tuple[ImportForm, ImportPreview | None]:
    """Return the form, and what importing at its rate would do once there is one."""
    currency = organization.currency
    known = price_book.last_rate() if currency != "USD" else None
    sent: Any = posted(request) or ({"rate": request.GET["rate"]} if "rate" in request.GET else None)
    if sent is None and currency == "USD":
        sent = {"rate": "1"}
    form = ImportForm(sent, currency=currency, rate=known)
    rate = known
    if form.is_bound:
        rate = form.cleaned_data["rate"] if form.is_valid() else None
    if rate is None:
        return form, None
    try:
        return form, price_book.preview_import(rate, currency)
    except RuleBroken as broken:
        form.add_broken_rule(broken)
        return form, None


def _recent(filters: PriceFilters, organization: Organization) -> list[str] | None:
    if filters.value("used") != "recent":
        return None
    today = calendar(organization.zone).today
    return price_book.models_used(today - timedelta(days=30), today + timedelta(days=1))


def _history_of(model: str) -> str:
    return f"{reverse('spend:history')}?{urlencode({'model': model})}"

"""All limits in one list, and the one form that sets any of them."""

import time
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.actions import Action
from audit.actors import Target
from audit.services import record_export
from portal.accounts.access import can, people_who_may, person_of, refuse_unless, require
from portal.accounts.actors import actor_of
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.approvals.models import ApprovalPolicy
from portal.approvals.selectors import policy
from portal.decision.envelopes import beyond
from portal.decision.one_limit import remove_limit
from portal.decision.state import calendar
from portal.lib.errors import RuleBroken
from portal.lib.money import decimal_string
from portal.limits.access import (
    Around,
    around,
    get_home,
    get_limit,
    get_place,
    home_query,
    limits_in,
    may_raise,
    may_set,
)
from portal.limits.forms import AmountForm, LimitFilters, NewLimitForm, save
from portal.limits.places import Place
from portal.limits.raises import RaiseForm
from portal.limits.requests import ask_for_raise
from portal.limits.selectors import LimitRow, is_counted, rows_of, shown, used_of
from portal.organization.selectors import current as current_organization
from portal.spend.models import Limit, Price
from portal.spend.selectors import spend_limits
from portal.spend.settled import LimitKey, settled
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_dialog, render_page_or_region, saved
from portal.web.pagination import page_of
from portal.web.tables import Column, sorting
from projects.forms import ReasonForm

COLUMNS = (
    Column("scope", "Set on", order=("scope_key", "metric", "window", "model")),
    Column("measure", "Limit", order=("metric", "window", "scope_key", "model"), css="p2"),
    Column("used", "Used now"),
    Column("mode", "Mode", order=("mode", "scope_key"), css="p3"),
    Column("changed", "Changed", order=("changed",), css="p4", starts_descending=True, is_time=True),
    Column("actions", "Actions", css="tight", is_hidden=True),
)
REGION = "limit-table"


def _filtered(request: HttpRequest) -> tuple[Any, Any, LimitFilters]:
    found, filters = around(request), LimitFilters(request.GET)
    limits = limits_in(found)
    if kind := filters.value("kind"):
        is_each = kind.endswith(":*")
        head = kind.removesuffix(":*")
        limits = (
            limits.filter(scope_key="o") if head == "o" else limits.filter(scope_key__startswith=f"{head}:")
        )
        if head in ("u", "pu"):
            each = {"scope_key__endswith": ":*"}
            limits = limits.filter(**each) if is_each else limits.exclude(**each)
    if measure := filters.value("measure"):
        metric, _, window = measure.partition("|")
        limits = limits.filter(metric=metric, window=window)
    if mode := filters.value("mode"):
        limits = limits.filter(mode=mode)
    if model := filters.value("model"):
        limits = limits.filter(model__istartswith=model.rstrip("*"))
    return found, limits, filters


def _new_url(found: Around) -> str:
    chosen = f"?{found.query}&kind={found.kind}" if found.query else ""
    return f"{reverse('limits:new')}{chosen}"


@require_GET
@require(Right.SEE_PROJECTS)
def limit_list(request: HttpRequest) -> HttpResponse:
    """Show all limits, or those of the one thing that the address names."""
    found, limits, filters = _filtered(request)
    organization, person = current_organization(), person_of(request)
    table = sorting(COLUMNS, request.GET, default="scope")
    page = page_of(limits, order=table.order, cursor=request.GET.get("cursor", ""))
    known, rows = policy(), rows_of(page.rows, organization.zone)
    context = {
        "around": found,
        "filters": filters,
        "table": table,
        "page": page,
        "rows": [(row, *_rights(person, row, known)) for row in rows],
        "new_url": _new_url(found) if can(person, Right.LOWER_LIMITS) else "",
        "is_away": any(row.used is None and is_counted(row.limit) for row in rows),
        "region": REGION,
        "count": "",
    }
    return render_page_or_region(request, "limits/list.html", "limits/_limit_table.html", context)


@require_GET
@require(Right.SEE_PROJECTS)
def export(request: HttpRequest) -> HttpResponseBase:
    """Download the list as filtered."""
    found, limits, _ = _filtered(request)
    organization = current_organization()
    record_export(
        Action.LIMITS_EXPORTED,
        actor=actor_of(request),
        target=Target("organization", "1", found.name or organization.name),
        changes={"filters": (None, request.GET.urlencode())},
    )

    def lines() -> Any:
        ids = list(limits.order_by("scope_key", "pk").values_list("pk", flat=True))
        for start in range(0, len(ids), 500):
            part = list(Limit.objects.filter(pk__in=ids[start : start + 500]).order_by("scope_key", "pk"))
            for row in rows_of(part, organization.zone):
                limit, place = row.limit, row.place
                amount = decimal_string(limit.amount) if row.is_money else limit.amount
                yield [place.kind if place else "", place.name if place else limit.scope_key, row.measure, limit.model,
                       amount, limit.mode, limit.changed, limit.changed_by]  # fmt: skip

    heads = [
        "Set on",
        "Name",
        "Limit",
        "Model",
        f"Amount (spend: {organization.currency})",
        "Mode",
        "Changed",
        "Changed by",
    ]
    return csv_response("limits", heads, lines())


@require_http_methods(["GET", "POST"])
@require(Right.LOWER_LIMITS)
def new(request: HttpRequest) -> HttpResponse:
    """Set a limit where there is none."""
    form = NewLimitForm(posted(request), given=request.GET)
    if form.is_valid() and form.place is not None:
        place, most_raise = get_place(request, form.place.key)
        if save(form, place, most_raise=most_raise, actor=actor_of(request)):
            return saved(
                request, to=_back(request), toast=_told(f"Limit set on {place.name}", place, most_raise)
            )
    context = {"form": form, "back": _back(request), **_choices()}
    return render(request, "limits/new.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@require(Right.LOWER_LIMITS)
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Change how much a limit allows, and how strictly."""
    limit, place, most_raise = get_limit(request, pk)
    form = AmountForm(posted(request), limit=limit)
    if form.is_valid() and save(form, place, most_raise=most_raise, actor=actor_of(request)):
        toast = _told(f"Limit saved on {place.name}", place, most_raise)
        return saved(request, to=_back(request), toast=toast, refresh=[REGION])
    organization = current_organization()
    used = used_of([limit], organization.zone).get(limit.pk)
    context = {
        "form": form,
        "limit": limit,
        "place": place,
        "used": None if used is None else shown(limit.metric, used, organization.currency),
        "most_raise": most_raise,
    }
    return render_dialog(
        request,
        "limits/change_dialog.html",
        context,
        title=f"Change a limit on {place.name}",
        back=_back(request),
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.LOWER_LIMITS)
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a limit away, after saying what holds calls then."""
    limit, place, most_raise = get_limit(request, pk)
    # Without it more is admitted: who only lowers limits keeps it.
    allowed = most_raise != 0 or may_set(person_of(request), place)
    refuse_unless(allowed, request, Right.SET_LIMITS, place.target)
    form = ReasonForm(posted(request))
    if form.is_valid():
        try:
            remove_limit(
                limit=limit,
                label=place.label,
                actor=actor_of(request),
                reason=form.cleaned_data["reason"],
                target=place.target,
                most_raise=most_raise,
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(
                request, to=_back(request), toast=f"Limit removed from {place.name}", refresh=[REGION]
            )
    context = {"form": form, "row": rows_of([limit], current_organization().zone)[0]}
    return render_dialog(
        request,
        "limits/remove_dialog.html",
        context,
        title="Remove this limit?",
        back=_back(request),
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.ASK_RAISE)
def ask_raise(request: HttpRequest) -> HttpResponse:
    """Put a higher limit before those who decide it."""
    home, person = get_home(request), person_of(request)
    form = RaiseForm(
        posted(request),
        limits=home.limits,
        currency=current_organization().currency,
        chosen=request.GET.get("limit", ""),
    )
    if form.is_valid():
        wanted = form.cleaned_data
        try:
            made = ask_for_raise(
                limit=wanted["limit"],
                amount=wanted["amount"],
                requester=person,
                actor=actor_of(request),
                reason=wanted["reason"],
                until=form.until_day,
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            toast = f"Asked for: {made.label}" if made.is_waiting else f"Raised: {made.label}"
            return saved(request, to=reverse("approvals:detail", args=[made.pk]), toast=toast)
    project = home.place.project
    others = people_who_may(Right.APPROVE_RAISES, group=project.group_id if project else None)
    context = {
        "form": form,
        "alone": may_set(person, home.place) and not others.exclude(pk=person.pk).exists(),
    }
    return render_dialog(
        request,
        "limits/raise_dialog.html",
        context,
        title=f"Ask for a raise for {home.place.name}",
        back=home.back,
        status=422 if form.errors else 200,
    )


@require_POST
@require(Right.LOWER_LIMITS)
def preview(request: HttpRequest) -> HttpResponse:
    """Show what is used of the limit that the form describes, and whether it would refuse at once; nothing is saved."""
    form, organization = NewLimitForm(request.POST, given={}), current_organization()
    context: dict[str, Any] = {}
    if form.is_valid() and form.place is not None:
        place, _ = get_place(request, form.place.key)
        context = _outlook(form, place.key, organization.zone, organization.currency) | {"place": place}
    return render(request, "limits/_preview.html", context)


def _outlook(form: NewLimitForm, key: str, zone: str, currency: str) -> dict[str, Any]:
    data = form.cleaned_data
    there = Limit.objects.filter(
        scope_key=key, metric=form.metric, window=form.window, model=data["model"]
    ).first()
    used = _settled(key, form.metric, form.window, data["model"], zone)
    return {
        "there": there,
        "now": None if used is None else shown(form.metric, used, currency),
        "left": None if used is None else shown(form.metric, max(0, data["stored"] - used), currency),
        "refuses": used is not None and used >= data["stored"],
        "observes": data["mode"] == Limit.Mode.OBSERVE,
    }


def _told(words: str, place: Place, most_raise: int | None) -> str:
    """Return what is said after saving, with what limits of children add up to, but not to those who only lower."""
    if most_raise == 0:
        return words
    day, month = spend_limits([place.key]).get(place.key, (None, None))
    currency = current_organization().currency
    found = beyond(place.key, {"day": day, "month": month})
    return ". ".join([words, *(each.in_words(currency) for each in found)])


def _settled(key: str, metric: str, window: str, model: str, zone: str) -> int | None:
    """Return what the window has used so far, by the roll-ups; None for what no roll-up knows."""
    if key.endswith(":*") or window in ("minute", "none"):
        return None
    limit = LimitKey(key, metric, window, model)
    found = settled([limit], calendar(time.time(), zone))
    return found[limit.counter(key)][2]


def _choices() -> dict[str, Any]:
    return {"models": Price.objects.order_by("model").values_list("model", flat=True).distinct()[:300]}


def _rights(person: Person, row: LimitRow, known: ApprovalPolicy) -> tuple[bool, bool, str]:
    """Return whether the person may change the limit, remove it, and where they ask for a raise of it."""
    if row.place is None:
        return False, False, ""
    try:
        most = may_raise(person, row.place, known)
    except PermissionDenied:
        return False, False, ""
    asks = most is not None and row.limit.mode == Limit.Mode.ENFORCE
    query = home_query(row.place) if asks else ""
    href = f"{reverse('limits:ask_raise')}?{query}&limit={row.limit.pk}" if query else ""
    return True, most != 0, href


def _back(request: HttpRequest) -> str:
    """Return the list that the address speaks of: of one thing, or all."""
    here = reverse("limits:list")
    for name in ("project", "group", "person", "credential"):
        if value := request.GET.get(name):
            return f"{here}?{urlencode({name: value})}"
    return here

"""The access review: who has what, since when and from where; confirmed one by one."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from audit.services import record_list_export
from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.grants import confirm_grant, open_review, start_review, unconfirmed
from portal.accounts.models import RoleGrant
from portal.accounts.policy import GRANTED_ROLES, Right
from portal.approvals.forms import ApproveForm
from portal.lib.errors import RuleBroken
from portal.organization.pages import tabs
from portal.organization.selectors import current as current_organization
from portal.spend.selectors import calendar
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_dialog, render_page_or_region, saved
from portal.web.pagination import page_of
from portal.web.tables import CURSOR, Column, FilterForm, sorting
from projects.models import Membership

REGION = "grant-table"
COLUMNS = (
    Column("name", "Person", order=("person__name",)),
    Column("role", "Role", order=("role",)),
    Column("since", "Since", order=("granted",), css="p2", starts_descending=True, is_time=True),
    Column(
        "sign-in",
        "Last sign-in",
        order=("person__last_sign_in",),
        css="p3",
        starts_descending=True,
        is_time=True,
    ),
    Column("confirmed", "Confirmed", order=("confirmed",), css="p2", starts_descending=True, is_time=True),
    Column("actions", "Actions", css="tight", is_hidden=True),
)
HEADS = (
    "Person", "Address", "Object id", "Kind", "Role", "Where", "Since", "Source", "Given by", "Until",
    "Last sign-in", "Confirmed", "Confirmed by", "Suspended",
)  # fmt: skip


class GrantFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Search by name or address", max_length=100)
    role = forms.ChoiceField(
        label="Role", choices=[("", "All roles"), *((role.value, role.label) for role in GRANTED_ROLES)]
    )
    state = forms.ChoiceField(
        label="State", choices=[("", "Any state"), ("open", "Not confirmed yet"), ("suspended", "Suspended")]
    )


def _grants(filters: GrantFilters) -> QuerySet[RoleGrant]:
    found = RoleGrant.objects.select_related("person", "group")
    if text := filters.value("q"):
        found = found.filter(person__name__icontains=text) | found.filter(person__email__icontains=text)
    if role := filters.value("role"):
        found = found.filter(role=role)
    if filters.value("state") == "suspended":
        found = found.exclude(suspended=None)
    elif filters.value("state") == "open":
        going = open_review()
        found = found.filter(pk__in=unconfirmed(going).values("pk")) if going else found.none()
    return found


@require_GET
@require(Right.SEE_PEOPLE)
def review(request: HttpRequest) -> HttpResponse:
    """List the granted roles with what a review needs to know, and how far the review is."""
    filters, person, going = GrantFilters(request.GET), person_of(request), open_review()
    table = sorting(COLUMNS, request.GET, default="name")
    found = _grants(filters)
    count = found.count()
    context = {
        "tabs": tabs(request, "roles"),
        "filters": filters,
        "table": table,
        "page": page_of(found, order=table.order, cursor=request.GET.get(CURSOR, "")),
        "region": REGION,
        "count": f"{count} role{'' if count == 1 else 's'}",
        "going": going,
        "left": unconfirmed(going).count() if going else 0,
        "own": person.pk,
        "may_manage": can(person, Right.MANAGE_ACCESS),
    }
    return render_page_or_region(request, "approvals/review.html", "approvals/_grant_table.html", context)


@require_GET
@require(Right.SEE_PEOPLE)
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Download the granted roles as filtered, and without a filter the places in projects too."""
    filters = GrantFilters(request.GET)
    grants = _grants(filters)
    record_list_export(
        "granted roles", actor=actor_of(request), filters=request.GET.urlencode()[:1000], rows=grants.count()
    )
    rows = _lines(grants, with_places=not filters.is_active)
    return csv_response(f"access-{calendar(current_organization().zone).today}", HEADS, rows)


def _lines(grants: QuerySet[RoleGrant], *, with_places: bool) -> Iterator[list[Any]]:
    for each in grants.order_by("person__name", "pk").iterator(chunk_size=500):
        person, where = each.person, each.group.code if each.group else ""
        yield [
            person.name, person.email, str(person.oid or ""), "role", each.role, where, each.granted,
            each.source, each.granted_by, each.expires, person.last_sign_in, each.confirmed,
            each.confirmed_by, each.suspended,
        ]  # fmt: skip
    places = Membership.objects.select_related("person", "project").order_by("person__name", "pk")
    for place in places.iterator(chunk_size=500) if with_places else ():
        person = place.person
        yield [
            person.name, person.email, str(person.oid or ""), "project", place.role, place.project.code,
            place.added, "portal", "", None, person.last_sign_in, None, "", None,
        ]  # fmt: skip


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ACCESS)
def start(request: HttpRequest) -> HttpResponse:
    """Begin a review."""
    form, back = ApproveForm(posted(request)), reverse("roles:review")
    if form.is_valid():
        try:
            started = start_review(actor=actor_of(request), reason=form.cleaned_data["reason"])
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=back, toast=f"{started} has begun")
    return render_dialog(
        request,
        "approvals/start_dialog.html",
        {"form": form},
        title="Start an access review?",
        back=back,
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ACCESS)
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Confirm that a role is still needed."""
    grant = get_object_or_404(RoleGrant.objects.select_related("person", "group"), pk=pk)
    form, back = ApproveForm(posted(request)), reverse("roles:review")
    if form.is_valid():
        try:
            confirm_grant(grant=grant, actor=actor_of(request), reason=form.cleaned_data["reason"])
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=back, toast=f"Confirmed for {grant.person}", refresh=[REGION])
    return render_dialog(
        request,
        "approvals/confirm_dialog.html",
        {"form": form, "grant": grant},
        title=f"Does {grant.person} still need this role?",
        back=back,
        status=422 if form.errors else 200,
    )

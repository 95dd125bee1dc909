"""Settings → People: who has a role, and who gives it."""

from collections.abc import Iterator
from dataclasses import replace

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from audit.actions import Action
from audit.actors import Target
from audit.services import record_list_export, record_view
from portal.accounts import services
from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.forms import GrantForm, LinkForm, PeopleFilters, ReasonForm
from portal.accounts.models import Person
from portal.accounts.pages import listing
from portal.accounts.policy import Right, Role
from portal.approvals.models import Request
from portal.approvals.roles import grant_or_ask
from portal.directory.selectors import sync_context
from portal.lib.errors import RuleBroken
from portal.lib.money import from_nano
from portal.organization.pages import tabs
from portal.organization.selectors import current as current_organization
from portal.organization.selectors import end_of_day
from portal.spend import selectors as spend
from portal.web.csv import csv_response
from portal.web.htmx import render_dialog, render_page_or_region, saved
from portal.web.tables import CURSOR, Column, sorting

REGION = "people-table"
BY_SPEND = ("standing__first", "standing__spend", "standing__pk")
COLUMNS = (
    Column("name", "Person", order=("name",)),
    Column("roles", "Rights from"),
    Column(
        "projects",
        "Projects",
        order=("standing__projects", "standing__pk"),
        css="num p3",
        starts_descending=True,
    ),
    Column(
        "tokens", "Tokens", order=("standing__tokens", "standing__pk"), css="num p3", starts_descending=True
    ),
    Column(
        "month",
        "This month",
        order=("standing__first", "standing__spend", "standing__pk"),
        css="num p2",
        starts_descending=True,
    ),
    Column(
        "signed-in", "Last sign-in", order=("last_sign_in",), css="p4", starts_descending=True, is_time=True
    ),
    Column("actions", "Actions", css="tight", is_hidden=True),
)


@require_GET
@require(Right.SEE_PEOPLE)
def people(request: HttpRequest) -> HttpResponse:
    """List everybody the portal knows."""
    filters = PeopleFilters(request.GET)
    table = sorting(COLUMNS, request.GET, default="name")
    calendar = spend.calendar(current_organization().zone)
    found = _found(filters)
    page = listing.page_in_order(found, order=table.order, cursor=request.GET.get(CURSOR, ""))
    count = found.count()
    context = {
        "filters": filters,
        "table": table,
        "page": replace(page, rows=listing.person_rows(page.rows, calendar)),
        "region": REGION,
        "count": f"{count:,} {'person' if count == 1 else 'people'}",
        "may_manage": can(person_of(request), Right.MANAGE_ACCESS),
        "may_sync": can(person_of(request), Right.RUN_JOBS),
        "own": person_of(request).pk,
        "tabs": tabs(request, "people"),
        **sync_context(),
    }
    record_view(Action.LIST_VIEWED, actor=actor_of(request), target=Target("list", "people", "people"))
    return render_page_or_region(request, "accounts/people.html", "accounts/_people_table.html", context)


@require_GET
@require(Right.SEE_PEOPLE)
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Download the list as filtered."""
    calendar = spend.calendar(current_organization().zone)
    heads = [
        "Name",
        "Address",
        "Object id",
        "State",
        "Roles",
        "Projects",
        "Tokens",
        "This month",
        "Last sign-in",
    ]
    found = _found(PeopleFilters(request.GET)).order_by("pk")
    record_list_export(
        "people", actor=actor_of(request), filters=request.GET.urlencode()[:1000], rows=found.count()
    )
    return csv_response(f"people-{calendar.today}", heads, _lines(found, calendar))


def _found(filters: PeopleFilters) -> QuerySet[Person]:
    return listing.matching(
        text=filters.value("q"),
        role=filters.value("role"),
        state=filters.value("state"),
        source=filters.value("source"),
    ).prefetch_related("role_grants__group")


def _lines(found: QuerySet[Person], calendar: spend.Calendar) -> Iterator[list[object]]:
    """Yield the lines of the export in batches."""
    last = 0
    while batch := list(found.filter(pk__gt=last)[:500]):
        last = batch[-1].pk
        for row in listing.person_rows(batch, calendar):
            person = row.person
            state = person.get_left_because_display() or ("Active" if person.oid else "Without an account")
            roles = ", ".join(sorted({grant.role for grant in person.role_grants.all()}))
            yield [
                person.name, person.email, str(person.oid or ""), state, roles,
                row.projects, row.tokens, from_nano(row.month), person.last_sign_in,
            ]  # fmt: skip


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ACCESS)
def grant(request: HttpRequest) -> HttpResponse:
    """Give somebody of the directory a role."""
    form = GrantForm(_sent(request), initial={"person": request.GET.get("person", "")})
    if form.is_valid():
        wanted, actor = form.cleaned_data, actor_of(request)
        try:
            person = services.person_in_directory(found=wanted["person"], actor=actor)
            given = grant_or_ask(
                person=person,
                role=wanted["role"],
                group=wanted["group"].pk if wanted["group"] else None,
                expires=end_of_day(wanted["expires"]),
                requester=person_of(request),
                actor=actor,
                reason=wanted["reason"],
            )
        except RuleBroken as refusal:
            form.add_error(refusal.field, refusal.message)
        else:
            if isinstance(given, Request) and given.is_waiting:
                return saved(
                    request,
                    reverse("approvals:detail", args=[given.pk]),
                    "Asked for: a second person decides",
                )
            return _done(request, f"{person} is {Role(wanted['role']).label.lower()} from now on")
    return _dialog(request, "grant", {"form": form}, "Grant a role", bool(form.errors))


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ACCESS)
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Take all roles away from somebody."""
    person = get_object_or_404(Person, pk=pk)
    form = ReasonForm(_sent(request))
    if form.is_valid():
        try:
            services.revoke_access(person=person, actor=actor_of(request), reason=form.cleaned_data["reason"])
        except RuleBroken as refusal:
            form.add_error(None, refusal.message)
        else:
            return _done(request, f"{person} has no role any more")
    grants = list(person.role_grants.select_related("group"))
    from_entra = any(each.source == services.ENTRA for each in grants)
    context = {"form": form, "person": person, "grants": grants, "from_entra": from_entra}
    return _dialog(request, "revoke", context, f"Revoke the access of {person}?", bool(form.errors))


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ACCESS)
def end_sessions(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign somebody out in every browser."""
    person = get_object_or_404(Person, pk=pk)
    form = ReasonForm(_sent(request))
    if form.is_valid():
        services.sign_out_everywhere(
            person=person, actor=actor_of(request), reason=form.cleaned_data["reason"]
        )
        return _done(request, f"{person} is signed out everywhere")
    context = {"form": form, "person": person}
    return _dialog(request, "end_sessions", context, f"Sign {person} out everywhere?", bool(form.errors))


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ACCESS)
def allow_guest(request: HttpRequest, pk: int) -> HttpResponse:
    """Make an exception for a guest, who may then hold roles."""
    person = get_object_or_404(Person, pk=pk, is_guest=True)
    form = ReasonForm(_sent(request))
    form.fields["reason"].required = True
    if form.is_valid():
        try:
            services.allow_roles_of_guest(
                person=person, actor=actor_of(request), reason=form.cleaned_data["reason"]
            )
        except RuleBroken as refusal:
            form.add_error(refusal.field, refusal.message)
        else:
            return saved(request, reverse("accounts:person", args=[pk]), f"{person} may hold roles")
    context = {"form": form, "person": person}
    return _dialog(request, "allow_guest", context, f"Allow roles for {person}", bool(form.errors))


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ACCESS)
def link(request: HttpRequest, pk: int) -> HttpResponse:
    """Tie somebody who was made for a credential to an account of the directory."""
    person = get_object_or_404(Person, pk=pk, oid=None)
    form = LinkForm(_sent(request))
    if form.is_valid():
        try:
            person = services.link_person(
                person=person,
                found=form.cleaned_data["person"],
                actor=actor_of(request),
                reason=form.cleaned_data["reason"],
            )
        except RuleBroken as refusal:
            form.add_error(refusal.field, refusal.message)
        else:
            return _done(request, f"Linked to {person}")
    return _dialog(request, "link", {"form": form, "person": person}, f"Link {person}", bool(form.errors))


def _dialog(
    request: HttpRequest, name: str, context: dict[str, object], title: str, has_errors: bool
) -> HttpResponse:
    return render_dialog(
        request,
        f"accounts/{name}.html",
        context,
        title=title,
        back=reverse("accounts:people"),
        status=422 if has_errors else 200,
    )


def _sent(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


def _done(request: HttpRequest, toast: str) -> HttpResponse:
    return saved(request, reverse("accounts:people"), toast, refresh=[REGION])

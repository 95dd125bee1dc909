"""Requests: what waits for a decision, what was decided, and deciding it."""

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from audit.services import record_list_export
from portal.accounts.access import can, person_of, refuse_unless, require
from portal.accounts.actors import actor_of
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.approvals import services
from portal.approvals.access import get_request, requests_visible_to, waiting_on
from portal.approvals.forms import ApproveForm, EndForm, RequestFilters
from portal.approvals.kinds import RIGHTS
from portal.approvals.models import Request
from portal.approvals.pages import lines_of
from portal.approvals.selectors import matching
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.spend.selectors import calendar
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_dialog, render_page_or_region, saved
from portal.web.pagination import Page, page_of
from portal.web.tables import CURSOR, Column, sorting

REGION = "request-table"
COLUMNS = (
    Column("what", "Request", order=("label",)),
    Column("change", "Before and after"),
    Column("who", "Asked by", order=("requester__name",), css="p2"),
    Column("asked", "Asked", order=("created",), css="p3", starts_descending=True, is_time=True),
    Column("state", "State", order=("state",)),
)


@require_GET
@require(Right.SEE_REQUESTS)
def waiting(request: HttpRequest) -> HttpResponse:
    """List what waits for the person; for those who decide nothing, what they asked for."""
    return _list(request, "waiting" if _decides(person_of(request)) else "mine")


@require_GET
@require(Right.SEE_REQUESTS)
def mine(request: HttpRequest) -> HttpResponse:
    """List what the person asked for."""
    return _list(request, "mine")


@require_GET
@require(Right.SEE_REQUESTS)
def everything(request: HttpRequest) -> HttpResponse:
    """List every request the person may see."""
    return _list(request, "all")


def _decides(person: Person) -> bool:
    return any(can(person, right) for right in RIGHTS.values())


def _chosen(person: Person, which: str) -> QuerySet[Request]:
    visible = requests_visible_to(person)
    if which == "waiting":
        return visible.filter(pk__in=waiting_on(person).values("pk"))
    return visible.filter(requester=person) if which == "mine" else visible


def _list(request: HttpRequest, which: str) -> HttpResponse:
    person, filters = person_of(request), RequestFilters(request.GET)
    table = sorting(COLUMNS, request.GET, default="-asked")
    found = matching(
        _chosen(person, which),
        text=filters.value("q"),
        kind=filters.value("kind"),
        state=filters.value("state"),
    )
    count = found.count()
    page: Page[Request] = page_of(found, order=table.order, cursor=request.GET.get(CURSOR, ""))
    tabs: list[tuple[str, str, int | None]] = [("mine", "Asked by me", None), ("all", "All", None)]
    if _decides(person):
        tabs.insert(0, ("waiting", "Waiting for me", waiting_on(person).count()))
    context = {
        "filters": filters,
        "table": table,
        "page": page,
        "lines": lines_of(page.rows, current_organization().currency),
        "region": REGION,
        "count": f"{count:,} request{'' if count == 1 else 's'}",
        "which": which,
        "tabs": [
            {
                "label": label,
                "href": reverse(f"approvals:{'list' if key == 'waiting' else key}"),
                "count": number,
                "is_current": key == which,
            }
            for key, label, number in tabs
        ],
    }
    return render_page_or_region(request, "approvals/list.html", "approvals/_request_table.html", context)


@require_GET
@require(Right.SEE_REQUESTS)
def export(request: HttpRequest, which: str) -> StreamingHttpResponse:
    """Download the list as filtered."""
    if which not in ("waiting", "mine", "all"):
        raise Http404
    filters = RequestFilters(request.GET)
    found = matching(
        _chosen(person_of(request), which),
        text=filters.value("q"),
        kind=filters.value("kind"),
        state=filters.value("state"),
    )
    record_list_export(
        "requests", actor=actor_of(request), filters=request.GET.urlencode()[:1000], rows=found.count()
    )
    today = calendar(current_organization().zone).today
    return csv_response(f"requests-{today}", HEADS, (_cells(line) for line in _stream(found)))


HEADS = (
    "Number", "Kind", "Object", "Project", "Before", "After", "Reason", "Until", "Asked by", "Asked", "Expires",
    "State", "Decided by", "Decided", "Decision", "Alone",
)  # fmt: skip


def _stream(found: QuerySet[Request]) -> Iterator[Request]:
    return found.order_by("-created", "-pk").iterator(chunk_size=500)


def _cells(each: Request) -> list[Any]:
    pairs = list(each.changes.values())
    before, after = ("; ".join(str(pair[side]) for pair in pairs) for side in (0, 1))
    return [
        each.pk,
        each.kind,
        each.label,
        each.project.code if each.project else "",
        before,
        after,
        each.reason,
        each.ends,
        str(each.requester),
        each.created,
        each.expires,
        each.state,
        str(each.decided_by or ""),
        each.decided,
        each.decision,
        "yes" if each.is_alone else "",
    ]


@require_GET
@require(Right.SEE_REQUESTS)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one request: what it changes, why, and who decides."""
    found, person = get_request(request, pk), person_of(request)
    [line] = lines_of([found], current_organization().currency)
    deciders = list(services.deciders_of(found)[:6]) if found.is_waiting else []
    context = {
        "found": found,
        "line": line,
        "deciders": deciders,
        "may_decide": found.is_waiting and waiting_on(person).filter(pk=pk).exists(),
        "may_withdraw": found.is_waiting and found.requester_id == person.pk,
    }
    return render(request, "approvals/detail.html", context)


@require_http_methods(["GET", "POST"])
@require(Right.SEE_REQUESTS)
def approve(request: HttpRequest, pk: int) -> HttpResponse:
    """Approve, after seeing once more what changes."""
    found = _to_decide(request, pk)
    form = ApproveForm(posted(request))
    if form.is_valid():
        try:
            services.approve(
                request=found,
                decider=person_of(request),
                actor=actor_of(request),
                reason=form.cleaned_data["reason"],
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=_page(pk), toast=f"Approved: {found.label}")
    return _dialog(request, "approve", found, form, "Approve this request?")


@require_http_methods(["GET", "POST"])
@require(Right.SEE_REQUESTS)
def decline(request: HttpRequest, pk: int) -> HttpResponse:
    """Decline, with a reason for who asked."""
    found = _to_decide(request, pk)
    form = EndForm(posted(request))
    if form.is_valid():
        try:
            services.decline(
                request=found,
                decider=person_of(request),
                actor=actor_of(request),
                reason=form.cleaned_data["reason"],
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=_page(pk), toast=f"Declined: {found.label}")
    return _dialog(request, "decline", found, form, "Decline this request?")


@require_http_methods(["GET", "POST"])
@require(Right.SEE_REQUESTS)
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Take one's own request back."""
    found, person = get_request(request, pk), person_of(request)
    refuse_unless(found.requester_id == person.pk, request, Right.ASK_RAISE, services.target_of(found))
    form = EndForm(posted(request))
    if form.is_valid():
        try:
            services.withdraw(
                request=found, person=person, actor=actor_of(request), reason=form.cleaned_data["reason"]
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=_page(pk), toast=f"Withdrawn: {found.label}")
    return _dialog(request, "withdraw", found, form, "Withdraw your request?")


def _to_decide(request: HttpRequest, pk: int) -> Request:
    """Return the request for somebody who could decide one like it; whether they may decide this is the service's."""
    found = get_request(request, pk)
    group = found.project.group_id if found.project else None
    allowed = services.may_decide_kind(person_of(request), found.kind, group)
    refuse_unless(allowed, request, RIGHTS[found.kind], services.target_of(found))
    return found


def _page(pk: int) -> str:
    return reverse("approvals:detail", args=[pk])


def _dialog(request: HttpRequest, name: str, found: Request, form: Any, title: str) -> HttpResponse:
    [line] = lines_of([found], current_organization().currency)
    context = {"found": found, "line": line, "form": form}
    return render_dialog(
        request,
        f"approvals/{name}_dialog.html",
        context,
        title=title,
        back=_page(found.pk),
        status=422 if form.errors else 200,
    )

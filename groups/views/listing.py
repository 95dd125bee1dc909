"""The list of groups, its download, and new groups."""

from decimal import Decimal

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from audit.services import record_list_export
from groups.access import groups_with
from groups.forms import GroupFilters, GroupForm
from groups.models import Group, GroupQuerySet
from groups.pages import clock, try_look_up
from groups.selectors import figures, group_rows, sorted_by
from groups.services import create_group
from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.lib.money import from_nano
from portal.lib.names import suggested_code
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_page_or_region, saved
from portal.web.pagination import Page, page_of
from portal.web.tables import Column, sorting

COLUMNS = (
    Column("name", "Group", order=("name", "pk")),
    Column("projects", "Projects", order=("owned", "pk"), css="num p2", starts_descending=True),
    Column("members", "Members known", order=("known", "pk"), css="num p3", starts_descending=True),
    Column("today", "Today", order=("today", "pk"), css="p3", starts_descending=True),
    Column("month", "This month", order=("month", "pk"), starts_descending=True),
    Column("directory", "Entra ID", order=("looked_up", "pk"), css="p4"),
)
HEADS = ("Code", "Group", "Projects", "Members known", "Today", "Daily limit", "This month", "Monthly limit")
MORE_HEADS = ("Entra ID", "Members read")
CHUNK = 500


def _found(request: HttpRequest, filters: GroupFilters) -> GroupQuerySet:
    groups = groups_with(person_of(request))
    if text := filters.value("q"):
        groups = groups.filter(Q(name__icontains=text) | Q(code__icontains=text))
    state = filters.value("state")
    if state == "missing":
        return groups.filter(is_missing=True)
    return groups.filter(entra_id__isnull=state == "unlinked") if state else groups


@require_GET
@require(Right.SEE_GROUPS)
def group_list(request: HttpRequest) -> HttpResponse:
    """Show the groups with their spend."""
    filters, table, now = GroupFilters(request.GET), sorting(COLUMNS, request.GET, default="-month"), clock()
    found = _found(request, filters)
    number = found.count()
    ordered = sorted_by(found, table.order, now)
    page: Page[Group] = page_of(ordered, order=table.order, cursor=request.GET.get("cursor", ""))
    by_pk = {row.pk: row for row in group_rows(Group.objects.filter(pk__in=[g.pk for g in page.rows]), now)}
    context = {
        "filters": filters,
        "table": table,
        "page": Page([by_pk[group.pk] for group in page.rows], page.next, page.previous),
        "region": "group-table",
        "count": f"{number:,} group{'' if number == 1 else 's'}",
        "figures": figures(groups_with(person_of(request)), now),
    }
    return render_page_or_region(request, "groups/list.html", "groups/_group_table.html", context)


@require_GET
@require(Right.SEE_GROUPS)
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Download the list as filtered, by name."""
    ids = list(_found(request, GroupFilters(request.GET)).order_by("name", "pk").values_list("pk", flat=True))
    record_list_export(
        "groups", actor=actor_of(request), filters=request.GET.urlencode()[:1000], rows=len(ids)
    )
    now = clock()

    def amount(nano: int | None) -> Decimal | None:
        return None if nano is None else from_nano(nano)

    batches = (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
    lines = (
        [row.code, row.name, row.projects, row.members]
        + [amount(each) for each in (row.today, row.day_limit, row.month, row.month_limit)]
        + ["missing" if row.is_missing else "linked" if row.is_linked else "", row.looked_up]
        for batch in batches
        for row in group_rows(Group.objects.filter(pk__in=batch).order_by("name", "pk"), now)
    )
    return csv_response(f"groups-{now.today}", [*HEADS, *MORE_HEADS], lines)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_GROUPS)
def new(request: HttpRequest) -> HttpResponse:
    """Register a group and read its members."""
    form = GroupForm(posted(request))
    if form.is_valid():
        entra, actor = form.cleaned_data["entra"], actor_of(request)
        name = form.cleaned_data["name"] or entra.name
        try:
            group = create_group(
                code=form.cleaned_data["code"] or suggested_code(name),
                name=name,
                entra_id=entra.oid if entra else None,
                actor=actor,
            )
        except RuleBroken as broken:
            form.add_error({"entra_id": "entra"}.get(broken.field or "", broken.field), broken.message)
        else:
            try_look_up(group, request)
            return saved(
                request, to=reverse("groups:detail", args=[group.code]), toast=f"Group {name} created"
            )
    return render(request, "groups/new.html", {"form": form}, status=422 if form.errors else 200)

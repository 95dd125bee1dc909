"""The reports of months that are over: the list of months, one month by project or group, and what changed since."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from audit.actions import Action
from audit.actors import Target
from audit.services import record_export
from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.money import from_nano
from portal.monitoring import months
from portal.organization.selectors import current as current_organization
from portal.spend.models import LedgerRow, MonthLine, MonthReport
from portal.spend.months import freezes, open_until
from portal.spend.selectors import calendar
from portal.web.csv import csv_response
from portal.web.htmx import render_page_or_region
from portal.web.pagination import Page, page_of
from portal.web.tables import Column, FilterForm, sorting

COLUMNS = {
    kind: (
        Column("name", label, order=(f"{name}__name", "pk")),
        Column("calls", "Calls", order=("calls", "pk"), css="num p3", starts_descending=True),
        Column("input", "Input", order=("input_tokens", "pk"), css="num p4", starts_descending=True),
        Column("output", "Output", order=("output_tokens", "pk"), css="num p4", starts_descending=True),
        Column("spend", "Frozen", order=("spend", "pk"), css="num", starts_descending=True),
        Column("since", "Since then", css="num"),
        Column("now", "Now", css="num p2"),
    )
    for kind, label, name in ((months.PROJECTS, "Project", "project"), (months.GROUPS, "Group", "group"))
}
HEADS = ("Month", "Code", "Name", "Group", "Calls", "Failed", "Input tokens", "Output tokens")


class MonthFilters(FilterForm):
    """What of a month is shown."""

    q = forms.CharField(label="Search by name or code", max_length=100)


def _report(year: int, number: int) -> MonthReport:
    report = months.month_of(year, number)
    if report is None:
        raise Http404("There is no report of this month.")
    return report


def _kind(request: HttpRequest) -> str:
    return months.GROUPS if request.GET.get("of") == months.GROUPS else months.PROJECTS


def _frame(request: HttpRequest, report: MonthReport, tab: str) -> dict[str, Any]:
    """Return what every page of one month shows above its list."""
    sight = months.sight_of(person_of(request))
    zone, arguments = current_organization().zone, [report.month.year, report.month.month]
    page, changes = (reverse(f"monitoring:{name}", args=arguments) for name in ("month", "month_changes"))
    tabs = [
        ("projects", "By project", page),
        ("groups", "By group", f"{page}?of=groups"),
        ("changes", "Since then", changes),
    ]
    if not sight.lines(months.GROUPS).filter(report=report).exists():
        del tabs[1]
    [month] = months.months_of(sight, [report])
    return {
        "sight": sight,
        "report": report,
        "month": month,
        "open_until": open_until(report.month, zone),
        "is_open": timezone.now() < open_until(report.month, zone),
        "tabs": [
            {"label": label, "href": href, "count": None, "is_current": key == tab}
            for key, label, href in tabs
        ],
    }


@require_GET
@require(Right.SEE_REPORTS)
def month_list(request: HttpRequest) -> HttpResponse:
    """Show the months that have a report, the latest first."""
    zone, sight = current_organization().zone, months.sight_of(person_of(request))
    found: Page[MonthReport] = page_of(
        MonthReport.objects.all(), order=("-month",), cursor=request.GET.get("cursor", ""), size=24
    )
    running = calendar(zone).first
    context = {
        "page": Page(months.months_of(sight, found.rows), found.next, found.previous),
        "sees_all": sight.is_all,
        "running": running,
        "freezes": freezes(running, zone),
        "region": "month-table",
        "count": "",
    }
    return render_page_or_region(request, "monitoring/months.html", "monitoring/_months_table.html", context)


@require_GET
@require(Right.SEE_REPORTS)
def month(request: HttpRequest, year: int, number: int) -> HttpResponse:
    """Show one month by project or by group: what was frozen, what arrived since, what it comes to now."""
    report, kind, filters = _report(year, number), _kind(request), MonthFilters(request.GET)
    frame = _frame(request, report, kind)
    table = sorting(COLUMNS[kind], request.GET, default="-spend")
    lines = months.matching(frame["sight"], report, kind, filters.value("q"))
    page: Page[MonthLine] = page_of(lines, order=table.order, cursor=request.GET.get("cursor", ""))
    context = frame | {
        "kind": kind,
        "filters": filters,
        "table": table,
        "page": Page(months.with_now(report, page.rows), page.next, page.previous),
        "region": "line-table",
        "count": f"{lines.count():,} {kind if lines.count() != 1 else kind.removesuffix('s')}",
    }
    return render_page_or_region(request, "monitoring/month.html", "monitoring/_month_table.html", context)


@require_GET
@require(Right.SEE_REPORTS)
def month_changes(request: HttpRequest, year: int, number: int) -> HttpResponse:
    """Show what was booked for a month after its report was frozen, each with the call it belongs to."""
    report = _report(year, number)
    frame = _frame(request, report, "changes")
    rows = months.changes_since(frame["sight"], report)
    page: Page[LedgerRow] = page_of(rows, order=("-arrived", "-id"), cursor=request.GET.get("cursor", ""))
    context = frame | {
        "page": Page(months.shown_changes(page.rows), page.next, page.previous),
        "region": "change-table",
        "count": "",
    }
    return render_page_or_region(
        request, "monitoring/month_changes.html", "monitoring/_changes_table.html", context
    )


@require_GET
@require(Right.SEE_REPORTS)
def export_month(request: HttpRequest, year: int, number: int) -> StreamingHttpResponse:
    """Download one month as filtered: frozen, since then, now."""
    report, kind, filters = _report(year, number), _kind(request), MonthFilters(request.GET)
    organization, sight = current_organization(), months.sight_of(person_of(request))
    lines = months.matching(sight, report, kind, filters.value("q"))
    name = f"{report.month:%Y-%m}"
    record_export(
        Action.MONTH_EXPORTED,
        actor=actor_of(request),
        target=Target("month", name, f"{report.month:%B %Y}"),
        changes={"of": (None, kind), "filters": (None, filters.value("q")), "rows": (None, lines.count())},
    )

    def rows() -> Iterator[list[object]]:
        for each in months.all_with_now(report, lines):
            line = each.line
            group = line.project.group if line.project else None
            counts = [line.calls, line.failed, line.input_tokens, line.output_tokens]
            amounts = [from_nano(amount) for amount in (line.spend, each.since, each.now)]
            subject = line.project or line.group
            code, title = (subject.code, subject.name) if subject else (line.scope_key, "")
            yield [name, code, title, group.name if group else "", *counts, *amounts]

    heads = [f"{head} {organization.currency}" for head in ("Frozen", "Since then", "Now")]
    return csv_response(f"month-{name}-{kind}", [*HEADS, *heads], rows())

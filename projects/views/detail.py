"""The first page of a project, and what was done to it."""

from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apikeys.models import ApiKey
from audit.models import AuditEntry
from audit.reading import NOTHING, Change, Reader, changes_of, told
from audit.services import record_list_export
from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.decision.limits import chain, deciding
from portal.lib.problems import PROBLEMS
from portal.lib.windows import midnight, to_datetime
from portal.organization.models import Organization
from portal.organization.selectors import current as current_organization
from portal.spend import scopes, selectors
from portal.spend.models import Refusal
from portal.web.charts import Outlook, month_chart
from portal.web.csv import csv_response
from portal.web.htmx import render_page_or_region
from portal.web.pagination import Page, page_of
from projects.access import get_project, rights_in
from projects.forms import ActivityFilters
from projects.models import Project
from projects.pages import clock, page_context, sheet_of
from projects.selectors import activity_of, month_of

TOP = 6
ACTIVITY_HEADS = ("When", "Who", "Action", "Outcome", "What", "Change", "Comment")


@require_GET
@require(Right.SEE_PROJECTS)
def overview(request: HttpRequest, code: str) -> HttpResponse:
    """Show how the project stands: what it spends, what stops it first, who spends."""
    project = get_project(request, code)
    context = page_context(request, project, "detail")
    organization, calendar = current_organization(), context["calendar"]
    reader = _reader(organization, calendar)
    month = month_of(scopes.project(project.pk), calendar)
    levels = [
        level
        for level in chain(sheet_of(project, organization, person_of(request)).places, calendar)
        if not level.is_each
    ]
    day_began = to_datetime(midnight(calendar.today, calendar.zone))
    context |= {
        "month": month,
        "runs_out": month.reaches(context["month_limit"]),
        "burn": month_chart(
            "burn",
            f"{calendar.today:%B} spend against limit",
            first=calendar.first,
            spent=month.spent,
            today_part=calendar.day_per_mille / 1000,
            outlook=Outlook(month.expected, month.low, month.high),
            limit=context["month_limit"],
            currency=organization.currency,
        ),
        "levels": levels[::-1],
        "deciding": deciding(levels),
        "refused_today": selectors.refused_since(day_began, project=project.pk),
        "models": selectors.usage_by_model(
            scopes.project(project.pk), calendar.first, calendar.after, most=TOP
        ),
        "refusals": _refusals(project) if context["can"]["see_refusals"] else None,
        "changes": [told(entry, reader) for entry in activity_of(project)[:4]]
        if context["can"]["see_audit"]
        else None,
        "spenders": _spenders(project, calendar)
        if rights_in(person_of(request), project)["see_refusals"]
        else None,
    }
    return render(request, "projects/overview.html", context)


def _spenders(project: Project, calendar: selectors.Calendar) -> list[dict[str, Any]]:
    """Return the people and keys that spent the most this month."""
    people = selectors.today_and_month_within(f"pu:{project.pk}:", calendar, most=TOP)
    keys = {scopes.credential(key.key_id): key for key in ApiKey.objects.filter(project=project)}
    used = people | selectors.today_and_month(keys, calendar)
    each = selectors.spend_limits([scopes.project_each_user(project.pk)])
    limits = selectors.spend_limits(used)
    names = Person.objects.in_bulk([int(key.rsplit(":", 1)[1]) for key in people])
    rows = []
    for key, spent in sorted(used.items(), key=lambda item: -item[1].month)[:TOP]:
        holder = keys.get(key)
        person = None if holder else names.get(int(key.rsplit(":", 1)[1]))
        general = (None, None) if holder else each.get(scopes.project_each_user(project.pk), (None, None))
        day_limit, month_limit = limits.get(key, general)
        rows.append(
            {
                "name": holder.name if holder else str(person or "Somebody who left"),
                "detail": f"API key …{holder.hint[-4:]}" if holder else person.email if person else "",
                "used": spent,
                "day_limit": day_limit,
                "month_limit": month_limit,
            }
        )
    return rows


def _refusals(project: Project) -> list[dict[str, Any]]:
    rows = Refusal.objects.filter(project=project.pk, is_observed=False).order_by(
        "-occurred", "-decision_id"
    )[:5]
    return [{"row": row, "title": PROBLEMS.get(row.code, (0, row.code, ""))[1]} for row in rows]


@require_GET
@require(Right.SEE_PROJECTS)
def activity(request: HttpRequest, code: str) -> HttpResponse:
    """Show the audit entries of the project, as filtered."""
    project = get_project(request, code, need=Right.SEE_AUDIT)
    context = page_context(request, project, "activity")
    filters, reader = ActivityFilters(request.GET), _reader(current_organization(), context["calendar"])
    found = _entries(project, filters, context["calendar"].zone)
    page: Page[AuditEntry] = page_of(found, order=("-occurred", "-id"), cursor=request.GET.get("cursor", ""))
    number = found.count()
    context |= {
        "filters": filters,
        "page": page,
        "entries": [told(entry, reader) for entry in page.rows],
        "region": "activity-table",
        "count": f"{number:,} {'entry' if number == 1 else 'entries'}",
    }
    return render_page_or_region(request, "projects/activity.html", "projects/_activity_table.html", context)


@require_GET
@require(Right.SEE_PROJECTS)
def export_activity(request: HttpRequest, code: str) -> StreamingHttpResponse:
    """Download the audit entries of the project, as filtered."""
    project = get_project(request, code, need=Right.SEE_AUDIT)
    now = clock()
    reader = _reader(current_organization(), now)
    found = _entries(project, ActivityFilters(request.GET), now.zone)
    record_list_export(
        "project activity",
        actor=actor_of(request),
        filters=request.GET.urlencode()[:1000],
        rows=found.count(),
        project=project.pk,
    )
    lines = (
        (
            entry.occurred,
            entry.actor_display,
            entry.action,
            entry.outcome,
            entry.target_label,
            "; ".join(map(_in_line, changes_of(entry, reader))),
            entry.comment,
        )
        for entry in found.iterator(500)
    )
    return csv_response(f"activity-of-{code}-{now.today}", ACTIVITY_HEADS, lines)


def _reader(organization: Organization, calendar: selectors.Calendar) -> Reader:
    return Reader(organization.time_zone, organization.currency, calendar.today)


def _in_line(change: Change) -> str:
    return f"{change.field}: {change.before or NOTHING} → {change.after or NOTHING}"


def _entries(project: Project, filters: ActivityFilters, zone: Any) -> QuerySet[AuditEntry]:
    """Return the entries that the filters leave, newest first; days are the organization's."""
    found = activity_of(project)
    if text := filters.value("q"):
        words = (
            Q(actor_display__icontains=text) | Q(target_label__icontains=text) | Q(comment__icontains=text)
        )
        found = found.filter(words)
    if about := filters.value("about"):
        found = found.filter(action__startswith=f"{about}.")
    if first := filters.cleaned_data.get("first"):
        found = found.filter(occurred__gte=to_datetime(midnight(first, zone)))
    if last := filters.cleaned_data.get("last"):
        found = found.filter(occurred__lt=to_datetime(midnight(last + timedelta(days=1), zone)))
    return found

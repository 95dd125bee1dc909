"""The monitoring page, its live part and its download."""

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_GET

from audit.actions import Action
from audit.actors import Target
from audit.services import record_export
from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.money import from_nano
from portal.monitoring.access import sight_of
from portal.monitoring.parts import Figures
from portal.organization.selectors import current as current_organization
from portal.spend import scopes
from portal.spend.selectors import calendar, usage_by_day_and_model
from portal.web import numbers
from portal.web.csv import csv_response
from portal.web.htmx import render_page_or_region

HEADS = [
    "Day",
    "Project",
    "Name",
    "Group",
    "Model",
    "Calls",
    "Failed",
    "Input tokens",
    "Output tokens",
    "Spend",
]


@require_GET
@require(Right.SEE_MONITORING)
def index(request: HttpRequest) -> HttpResponse:
    """Show how the gateway is used now; the part with the figures asks for itself again every 10 s."""
    figures = Figures(sight_of(person_of(request)))
    now, zone = figures.calendar, figures.organization.time_zone
    context: dict[str, Any] = {
        "parts": figures.parts(),
        "calendar": now,
        "sees_all": figures.sight.is_all,
        "is_paused": "pause" in request.GET,
        "updated": numbers.clock(now.now, zone, seconds=True),
    }
    return render_page_or_region(request, "monitoring/index.html", "monitoring/_live.html", context)


@require_GET
@require(Right.SEE_MONITORING)
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Download this month's usage by day, project and model, of the projects in sight."""
    organization = current_organization()
    now, sight = calendar(organization.zone), sight_of(person_of(request))
    projects = {scopes.project(project.pk): project for project in sight.found}
    record_export(
        Action.USAGE_EXPORTED,
        actor=actor_of(request),
        target=Target("organization", "1", organization.name),
        changes={"month": (None, f"{now.first:%Y-%m}"), "projects": (None, len(projects))},
    )

    def lines() -> Iterator[list[object]]:
        for day, key, model, usage in usage_by_day_and_model(projects, now.first, now.after):
            project = projects[key]
            counts = [usage.calls, usage.failed, usage.input_tokens, usage.output_tokens]
            group = project.group.name if project.group else ""
            yield [day.isoformat(), project.code, project.name, group, model, *counts, from_nano(usage.spend)]

    return csv_response(f"usage-{now.first:%Y-%m}", [*HEADS[:-1], f"Spend {organization.currency}"], lines())

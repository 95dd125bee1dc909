"""Sample pages: a list with filters, a form, dialogs, a secret, charts. Also the URLconf of that site."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import include, path

from portal.lib.money import NANO
from portal.web import charts
from portal.web.csv import csv_response
from portal.web.htmx import render_dialog, render_page_or_region, saved
from portal.web.pagination import page_of
from portal.web.tables import Column, FilterForm, sorting

NOW = datetime.now(UTC)


def organization() -> Any:
    """The organization of the sample pages."""
    return SimpleNamespace(name="Northgate Insurance", currency="USD", time_zone="UTC")


def rights(person: Any) -> dict[str, int]:
    """Everything may be seen."""
    kinds = ("monitoring", "projects", "groups", "people", "refusals", "audit", "settings")
    return {f"see_{kind}": 4 for kind in kinds}


@dataclass(frozen=True)
class Project:
    """A row of the list."""

    code: str
    name: str
    group: str
    spent: int
    limit: int | None
    used: datetime | None


WORDS = ("Claims triage", "Developer assistant", "Policy document search", "Fraud case notes", "HR helpdesk")
PROJECTS = [
    Project(
        code=f"project-{n:02d}",
        name=f"{WORDS[n % 5]} {n}",
        group=("Claims", "Engineering")[n % 2],
        spent=(n * 331 % 1100) * NANO + 380_000_000,
        limit=None if n == 9 else 1000 * NANO,
        used=None if n == 3 else NOW - timedelta(seconds=n * n * 217),
    )
    for n in range(41)
]

COLUMNS = (
    Column("name", "Project", order=("name",)),
    Column("group", "Group", order=("group",), css="p3"),
    Column("month", "This month", order=("spent",), starts_descending=True),
    Column("used", "Last used", order=("used",), css="p2", starts_descending=True, is_time=True),
    Column("state", "State", css="p2"),
    Column("actions", "Actions", css="tight", is_hidden=True),
)


class ProjectFilters(FilterForm):
    """Search and group."""

    q = forms.CharField(label="Search by name or code", max_length=100)
    group = forms.ChoiceField(label="Group", choices=[("", "All groups"), ("Claims", "Claims")])


class ProjectForm(forms.Form):
    """One field of each kind."""

    use_required_attribute = False
    name = forms.CharField(label="Name", help_text="As people call it.")
    code = forms.SlugField(label="Code", help_text="Small letters, digits and hyphens.")
    group = forms.ChoiceField(label="Group", choices=[("c", "Claims"), ("e", "Engineering")])
    note = forms.CharField(label="Note", widget=forms.Textarea(attrs={"rows": 2}), required=False)
    daily = forms.DecimalField(label="Daily limit", max_value=4000, help_text="Leave empty for none.")
    overlap = forms.ChoiceField(
        label="How long should the old key keep working?",
        choices=[("0", "Stop it now"), ("1", "24 hours")],
        widget=forms.RadioSelect,
    )
    tell = forms.BooleanField(label="Tell owners at 80%", help_text="By email, once.", required=False)


def _sign_in(request: HttpRequest) -> None:
    request.user = SimpleNamespace(  # type: ignore[assignment]
        is_authenticated=True, name="Elena Marsh", email="elena.marsh@northgate.example"
    )


def monitoring(request: HttpRequest) -> HttpResponse:
    """Charts and tiles."""
    _sign_in(request)
    spent = [(90 + day * 37 % 60) * NANO for day in range(24)]
    done = sum(spent)
    later = [done + day * 110 * NANO for day in range(1, 8)]
    outlook = charts.Outlook(later, [v - v // 20 for v in later], [v + v // 20 for v in later])
    minutes = [
        charts.Minute(f"10:{n:02d}", 2400 + int(400 * math.sin(n / 5)), 28, 500 if n == 23 else 0)
        for n in range(60)
    ]
    first = date(2026, 11, 1)
    context = {
        "burn": charts.month_chart(
            "burn",
            "November spend against limit",
            first=first,
            spent=spent,
            today_part=0.49,
            outlook=outlook,
            limit=4000 * NANO,
        ),
        "daily": charts.daily_chart(
            "daily", "Daily spend", first=first, spent=spent, length=30, limit=140 * NANO
        ),
        "rpm": charts.requests_chart("rpm", "Requests per minute", minutes),
        "done": done,
        "limit": 4000 * NANO,
        "near": [p for p in PROJECTS if p.spent > 800 * NANO][:5],
    }
    return render(request, "sample/monitoring.html", context)


def projects(request: HttpRequest) -> HttpResponse:
    """The list."""
    _sign_in(request)
    filters = ProjectFilters(request.GET)
    table = sorting(COLUMNS, request.GET, default="-month")
    text, group = filters.value("q").lower(), filters.value("group")
    rows = [p for p in PROJECTS if text in p.name.lower() and group in ("", p.group)]
    page = page_of(rows, order=(*table.order, "code"), cursor=request.GET.get("cursor", ""), size=14)
    context = {"filters": filters, "table": table, "page": page, "region": "project-table"}
    context["count"] = f"{len(rows)} projects"
    return render_page_or_region(request, "sample/projects.html", "sample/_project_table.html", context)


def form(request: HttpRequest) -> HttpResponse:
    """The form page."""
    _sign_in(request)
    form = ProjectForm(request.POST or None)
    if form.is_valid():
        return saved(request, to="/projects/", toast="Project created")
    return render(request, "sample/form.html", {"form": form}, status=422 if form.errors else 200)


def edit(request: HttpRequest) -> HttpResponse:
    """A dialog with a form."""
    _sign_in(request)
    form = ProjectForm(request.POST or None)
    for name in ("note", "daily", "group", "overlap", "tell"):
        del form.fields[name]
    if form.is_valid():
        return saved(request, to="/projects/", toast="Renamed", refresh=["project-table"])
    return render_dialog(
        request,
        "sample/edit_dialog.html",
        {"form": form},
        title="Rename the project",
        back="/projects/",
        status=422 if form.errors else 200,
    )


def delete(request: HttpRequest) -> HttpResponse:
    """A dialog that asks for the code."""
    _sign_in(request)
    error = ""
    if request.method == "POST":
        if request.POST.get("confirm") == "claims":
            return saved(request, to="/projects/", toast="Group Claims deleted")
        error = "Type claims, as it stands above."
    context = {
        "code": "claims",
        "noun": "group",
        "keep": "Keep group",
        "danger": "Delete group and revoke 44 credentials",
        "error": error,
    }
    return render_dialog(
        request,
        "sample/delete_dialog.html",
        context,
        title="Delete group Claims?",
        back="/projects/",
        status=422 if error else 200,
    )


def issue(request: HttpRequest) -> HttpResponse:
    """A secret, in the answer to the POST."""
    _sign_in(request)
    if request.method != "POST":
        return render_dialog(
            request, "sample/edit_dialog.html", {"form": None}, title="Issue a user token", back="/projects/"
        )
    return render_dialog(
        request,
        "sample/issued_dialog.html",
        {"secret": "lgw_u_7Qm2ZtR9xVb4Kd8NwYc3HsLp6JfGa5Te_9c41", "label": "User token"},
        title="Token issued to Amara Castillo",
        back="/projects/",
        refresh=["project-table"],
    )


def export(request: HttpRequest) -> StreamingHttpResponse:
    """A download."""
    return csv_response("projects", ["Code", "Name"], [(p.code, p.name) for p in PROJECTS])


def forbidden(request: HttpRequest) -> HttpResponse:
    """A refusal."""
    raise PermissionDenied


def broken(request: HttpRequest) -> HttpResponse:
    """A failure."""
    raise RuntimeError("broken on purpose")


def away(request: HttpRequest) -> HttpResponse:
    """A database that does not answer."""
    raise OperationalError("connection to the server at 10.0.0.7 failed")


def ended(request: HttpRequest) -> HttpResponse:
    """What a page answers when the session has ended."""
    return redirect("/sign-in/?next=/projects/%3Fsort=name")


def empty(request: HttpRequest) -> HttpResponse:
    """A place of the navigation."""
    return HttpResponse("")


def _places(namespace: str, **names: str) -> Any:
    return include(([path(f"{p}/", empty, name=name) for name, p in names.items()], namespace))


urlpatterns = [
    path("", include("portal.web.urls")),
    path("", include(([path("", monitoring, name="index")], "monitoring"))),
    path("", include(([path("projects/", projects, name="list")], "projects"))),
    path("", _places("groups", list="groups")),
    path("", _places("accounts", people="people", signout="signout", signin="sign-in", account="me")),
    path("", _places("notifications", alerts="alerts")),
    path("", _places("limits", list="limits")),
    path("", _places("approvals", list="requests")),
    path("", _places("find", find="find")),
    path("", _places("tokens", list="tokens")),
    path("", _places("apikeys", list="keys")),
    path("", _places("gateway", refusals="refused", list="gateways")),
    path("", _places("audit", list="audit")),
    path("", _places("organization", settings="settings")),
    path("form/", form),
    path("edit/", edit),
    path("delete/", delete),
    path("issue/", issue),
    path("export/", export),
    path("forbidden/", forbidden),
    path("broken/", broken),
    path("away/", away),
    path("ended/", ended),
]
handler400 = "portal.web.errors.bad_request"
handler403 = "portal.web.errors.forbidden"
handler404 = "portal.web.errors.not_found"
handler500 = "portal.web.errors.server_error"

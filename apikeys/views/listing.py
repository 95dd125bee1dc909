"""API keys across projects: the list, creating one, revoking one."""

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from apikeys.access import get_key, keys_visible_to
from apikeys.forms import IssueForm
from apikeys.selectors import key_rows, matching
from apikeys.services import issue_api_key, revoke_api_key
from apikeys.tables import REGION, KeyFilters, key_table
from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.lib.money import from_nano
from portal.organization.selectors import current as current_organization
from portal.spend import selectors as spend
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_dialog, render_page_or_region, saved
from projects.access import get_project, projects_with
from projects.forms import ChooseProjectForm, ReasonForm


@require_GET
@require(Right.SEE_PROJECTS)
def key_list(request: HttpRequest) -> HttpResponse:
    """Show the keys of the projects the person may see."""
    person, calendar = person_of(request), spend.calendar(current_organization().time_zone)
    context = key_table(request, keys_visible_to(person), calendar)
    context["can_issue"] = projects_with(person, Right.MANAGE_API_KEYS).exists()
    return render_page_or_region(request, "apikeys/list.html", "apikeys/_key_table.html", context)


@require_GET
@require(Right.SEE_PROJECTS)
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Download the list as filtered; never a secret."""
    filters, calendar = KeyFilters(request.GET), spend.calendar(current_organization().time_zone)
    found = matching(
        keys_visible_to(person_of(request)), text=filters.value("q"), status=filters.value("status")
    )
    heads = ["Id", "Name", "Owner", "Project", "Status", "Created", "Expires", "Last used", "This month"]
    lines = (
        (
            k.key_id,
            k.name,
            str(k.owner or ""),
            k.project.code,
            k.status,
            k.created,
            k.expires,
            k.last_used,
            month,
        )
        for row in key_rows(list(found.order_by("pk")), calendar)
        for k, month in [(row.key, from_nano(row.month))]
    )
    return csv_response(f"api-keys-{calendar.today}", heads, lines)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_API_KEYS)
def issue(request: HttpRequest) -> HttpResponse:
    """Create a key in the project of the address; its secret is in this one answer and nowhere else."""
    person, organization = person_of(request), current_organization()
    if not (code := request.GET.get("project", "")):
        context = {"form": ChooseProjectForm(projects=projects_with(person, Right.MANAGE_API_KEYS))}
        return render_dialog(
            request,
            "projects/choose_dialog.html",
            context,
            title="Create an API key",
            back=reverse("apikeys:list"),
        )
    project = get_project(request, code, need=Right.MANAGE_API_KEYS)
    form = IssueForm(posted(request), project=project, organization=organization)
    back = reverse("projects:keys", args=[project.code])
    if form.is_valid():
        name, owner, days = (form.cleaned_data[field] for field in ("name", "owner", "days"))
        try:
            key, secret = issue_api_key(
                project=project, name=name, owner=owner, days=days, actor=actor_of(request)
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            shown = {"secret": secret, "label": "API key", "key": key, "project": project}
            response = render_dialog(
                request,
                "apikeys/issued_dialog.html",
                shown,
                title=f"Key {name} created",
                back=back,
                refresh=[REGION],
            )
            response["Cache-Control"] = "no-store"
            return response
    return render_dialog(
        request,
        "apikeys/issue_dialog.html",
        {"form": form, "project": project},
        title="Create an API key",
        back=back,
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def revoke(request: HttpRequest, key_id: str) -> HttpResponse:
    """Revoke one key, after saying what stops."""
    key = get_key(request, key_id)
    form, back = ReasonForm(posted(request)), reverse("projects:keys", args=[key.project.code])
    if form.is_valid():
        revoke_api_key(key=key, actor=actor_of(request), reason=form.cleaned_data["reason"])
        return saved(request, to=back, toast=f"Key {key.name} revoked", refresh=[REGION])
    return render_dialog(
        request,
        "apikeys/revoke_dialog.html",
        {"form": form, "key": key},
        title=f"Revoke {key.name}?",
        back=back,
        status=422 if form.errors else 200,
    )

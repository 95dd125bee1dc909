"""User tokens across projects: the list, issuing one, revoking one."""

from datetime import datetime

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

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
from projects.access import get_project, projects_with, rights_in
from projects.forms import ChooseProjectForm, ReasonForm
from tokens.access import get_token, tokens_visible_to
from tokens.forms import IssueForm
from tokens.models import UserToken
from tokens.selectors import matching, token_rows
from tokens.services import issue_token, revoke_token
from tokens.tables import REGION, TokenFilters, token_table


@require_GET
@require(Right.SEE_PROJECTS)
def token_list(request: HttpRequest) -> HttpResponse:
    """Show the tokens the person may see."""
    person, calendar = person_of(request), spend.calendar(current_organization().time_zone)
    context = token_table(request, tokens_visible_to(person), calendar)
    context["can_issue"] = projects_with(person, Right.ISSUE_TOKEN, own=True).exists()
    return render_page_or_region(request, "tokens/list.html", "tokens/_token_table.html", context)


@require_GET
@require(Right.SEE_PROJECTS)
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Download the list as filtered; never a secret."""
    filters, calendar = TokenFilters(request.GET), spend.calendar(current_organization().time_zone)
    found = matching(
        tokens_visible_to(person_of(request)), text=filters.value("q"), status=filters.value("status")
    )
    heads = [
        "Id",
        "Name",
        "Person",
        "Address",
        "Project",
        "Status",
        "Created",
        "Expires",
        "Last used",
        "This month",
    ]
    rows = token_rows(list(found.order_by("pk")), calendar)
    lines = (
        (t.key_id, t.name, t.person.name, t.person.email, t.project.code, *_moments(t), from_nano(row.month))
        for row in rows
        for t in [row.token]
    )
    return csv_response(f"user-tokens-{calendar.today}", heads, lines)


def _moments(token: UserToken) -> tuple[str, datetime, datetime | None, datetime | None]:
    return token.status, token.created, token.expires, token.last_used


@require_http_methods(["GET", "POST"])
@require(Right.ISSUE_TOKEN)
def issue(request: HttpRequest) -> HttpResponse:
    """Issue a token in the project of the address; its secret is in this one answer and nowhere else."""
    person, organization = person_of(request), current_organization()
    projects = projects_with(person, Right.ISSUE_TOKEN, own=True)
    if not (code := request.GET.get("project", "")):
        context = {"form": ChooseProjectForm(projects=projects)}
        return render_dialog(
            request,
            "projects/choose_dialog.html",
            context,
            title="Issue a user token",
            back=reverse("tokens:list"),
        )
    project = get_project(request, code, need=Right.ISSUE_TOKEN, own=True)
    only = None if rights_in(person, project)["issue_token"] else person
    form = IssueForm(posted(request), project=project, organization=organization, only=only)
    back = reverse("projects:tokens", args=[project.code])
    if form.is_valid():
        holder, name, days = (form.cleaned_data[field] for field in ("person", "name", "days"))
        try:
            token, secret = issue_token(
                project=project, person=holder, name=name, days=days, actor=actor_of(request)
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            shown = {"secret": secret, "label": "User token", "token": token, "project": project}
            title = f"Token issued to {holder}"
            response = render_dialog(
                request, "tokens/issued_dialog.html", shown, title=title, back=back, refresh=[REGION]
            )
            response["Cache-Control"] = "no-store"
            return response
    return render_dialog(
        request,
        "tokens/issue_dialog.html",
        {"form": form, "project": project, "only": only},
        title="Issue a user token",
        back=back,
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def revoke(request: HttpRequest, key_id: str) -> HttpResponse:
    """Revoke one token, after saying what stops."""
    token = get_token(request, key_id)
    form, back = ReasonForm(posted(request)), reverse("projects:tokens", args=[token.project.code])
    if form.is_valid():
        revoke_token(token=token, actor=actor_of(request), reason=form.cleaned_data["reason"])
        return saved(request, to=back, toast=f"Token of {token.person} revoked", refresh=[REGION])
    return render_dialog(
        request,
        "tokens/revoke_dialog.html",
        {"form": form, "token": token},
        title=f"Revoke the token of {token.person}?",
        back=back,
        status=422 if form.errors else 200,
    )

"""Issue a user token."""

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from portal.accounts.access import person_of, refuse_unless, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.lib.money import from_nano
from portal.organization.selectors import current as current_organization
from portal.web.forms import posted
from portal.web.htmx import render_dialog
from projects.access import get_project, rights_in
from projects.forms import ChooseProjectForm
from projects.services import target_of
from tokens.forms import IssueForm
from tokens.issuing import projects_to_issue_in
from tokens.services import issue_token
from tokens.tables import REGION


@require_http_methods(["GET", "POST"])
@require(Right.ISSUE_TOKEN)
def issue(request: HttpRequest) -> HttpResponse:
    """Issue a token in the project of the address; its secret is in this one answer and nowhere else."""
    person, organization = person_of(request), current_organization()
    if not (code := request.GET.get("project", "")):
        return render_dialog(
            request,
            "projects/choose_dialog.html",
            {"form": ChooseProjectForm(projects=projects_to_issue_in(person))},
            title="Issue a user token",
            back=reverse("tokens:list"),
        )
    project = get_project(request, code, need=Right.ISSUE_TOKEN, own=True)
    only = None if rights_in(person, project)["issue_token"] else person
    is_allowed = only is None or project.members_issue_tokens
    refuse_unless(is_allowed, request, Right.ISSUE_TOKEN, target_of(project))
    form = IssueForm(posted(request), project=project, organization=organization, only=only)
    back = reverse("projects:tokens", args=[project.code])
    if form.is_valid():
        values = dict(form.cleaned_data)
        for limit in ("daily_limit", "monthly_limit"):
            values[limit] = None if values[limit] is None else from_nano(values[limit])
        try:
            token, secret = issue_token(project=project, actor=actor_of(request), **values)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            shown = {"secret": secret, "label": "User token", "token": token, "project": project}
            title = f"Token issued to {token.person}"
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

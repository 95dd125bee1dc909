"""The user tokens and API keys of one project."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from apikeys.access import keys_visible_to
from apikeys.tables import key_table
from portal.accounts.access import person_of, require
from portal.accounts.policy import Right
from portal.web.htmx import render_page_or_region
from projects.access import get_project
from projects.pages import page_context
from tokens.access import tokens_visible_to
from tokens.tables import token_table


@require_GET
@require(Right.SEE_PROJECTS)
def tokens(request: HttpRequest, code: str) -> HttpResponse:
    """Show the user tokens of the project: all of them, or a member's own."""
    project = get_project(request, code)
    context = page_context(request, project, "tokens")
    found = tokens_visible_to(person_of(request)).filter(project=project)
    may_revoke = context["can"]["revoke_token"]
    context |= token_table(request, found, context["calendar"], is_project=True, may_revoke=may_revoke)
    return render_page_or_region(request, "projects/tokens.html", "tokens/_token_table.html", context)


@require_GET
@require(Right.SEE_PROJECTS)
def keys(request: HttpRequest, code: str) -> HttpResponse:
    """Show the API keys of the project."""
    project = get_project(request, code)
    context = page_context(request, project, "keys")
    found = keys_visible_to(person_of(request)).filter(project=project)
    may_revoke = context["can"]["manage_api_keys"]
    context |= key_table(request, found, context["calendar"], is_project=True, may_revoke=may_revoke)
    return render_page_or_region(request, "projects/keys.html", "apikeys/_key_table.html", context)

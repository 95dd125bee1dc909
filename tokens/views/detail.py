"""The page of one user token."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from portal.accounts.access import person_of, require
from portal.accounts.policy import Right
from portal.credentials.pages import credential_context
from projects.access import rights_in
from projects.pages import clock
from projects.services import may_hold_tokens
from tokens.access import get_token, looks_after_tokens


@require_GET
@require(Right.SEE_PROJECTS)
def detail(request: HttpRequest, key_id: str) -> HttpResponse:
    """Show a token: whose it is, its use, spend, refusals and what was done to it."""
    token, person = get_token(request, key_id, need=Right.SEE_PROJECTS), person_of(request)
    calendar = clock()
    can = rights_in(person, token.project)
    context = credential_context(request, token, token.project, kind="user_token", calendar=calendar)
    context |= {
        "token": token,
        "credential": token,
        "can": can,
        "can_revoke": can["revoke_token"] or token.person_id == person.pk,
        "is_mine": not looks_after_tokens(person),
        "is_member": may_hold_tokens(token.project, token.person),
    }
    return render(request, "tokens/detail.html", context)

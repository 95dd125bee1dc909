"""The page of one API key."""

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from apikeys.access import get_key
from apikeys.selectors import OLD_DAYS
from portal.accounts.access import person_of, require
from portal.accounts.policy import Right
from portal.credentials.pages import credential_context
from projects.access import rights_in
from projects.pages import clock


@require_GET
@require(Right.SEE_PROJECTS)
def detail(request: HttpRequest, key_id: str) -> HttpResponse:
    """Show a key: its secrets, use, spend, refusals and what was done to it."""
    key = get_key(request, key_id, need=Right.SEE_PROJECTS)
    calendar, made = clock(), key.rotated or key.created
    context = credential_context(request, key, key.project, kind="api_key", calendar=calendar)
    context |= {
        "key": key,
        "credential": key,
        "can": rights_in(person_of(request), key.project),
        "made": made,
        "is_old": timezone.now() - made > timedelta(days=OLD_DAYS),
    }
    return render(request, "apikeys/detail.html", context)

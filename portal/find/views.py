"""Find anything: a dialog over the page, or a page of its own without JavaScript."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from portal.accounts.access import person_of, require
from portal.accounts.policy import Right
from portal.find.selectors import LEAST, find
from portal.web.context import Shell
from portal.web.htmx import wants_region


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def find_anything(request: HttpRequest) -> HttpResponse:
    """Show what matches; the text is posted, since somebody may paste a secret, which belongs in no address."""
    text = request.POST.get("q", "").strip()[:200]
    context = {
        "text": text,
        "sections": find(person_of(request), Shell(request), text) if text else [],
        "is_short": len(text) < LEAST,
    }
    template = "find/_results.html" if wants_region(request) else "find/page.html"
    return render(request, template, context)

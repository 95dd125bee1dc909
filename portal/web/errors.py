"""Error answers: generic, without the database, and a sentence alone where htmx asked.

The reference on the page is the request's id, which stands in the log and the audit entry.
"""

import sys
from http import HTTPStatus

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.template import loader

from portal.lib.errors import Unavailable
from portal.web.context import shell
from portal.web.htmx import wants_region

SENTENCES = {
    HTTPStatus.BAD_REQUEST: "The request could not be understood.",
    HTTPStatus.FORBIDDEN: "You may not do this. Ask an administrator if you need to.",
    HTTPStatus.NOT_FOUND: "There is nothing here, or not for you.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "That is too much at once. At most 1 MB can be sent.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something failed on our side. Check whether it was saved before you repeat it.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A server that the portal needs does not answer. Try again in a moment.",
}
_AWAY = (OperationalError, InterfaceError, Unavailable)
STALE = (
    "This page was open for too long, or your session has ended. Load the page again, then repeat the change."
)


def _answer(
    request: HttpRequest, status: HTTPStatus, template: str, sentence: str = "", **more: object
) -> HttpResponse:
    if wants_region(request):
        return HttpResponse(sentence or SENTENCES[status], content_type="text/plain", status=status)
    context = {
        **shell(request),
        "reference": getattr(request, "request_id", ""),
        "again": request.get_full_path() if request.method == "GET" else "/",
        **more,
    }
    return HttpResponse(loader.get_template(template).render(context), status=status)


def _typed(request: HttpRequest) -> list[tuple[str, str]]:
    """Return what a form sent, to send it again: with the token it came with, so nobody else's form gets ours."""
    try:
        return (
            [] if request.FILES else [(name, value) for name, each in request.POST.lists() for value in each]
        )
    except (BadRequest, SuspiciousOperation, UnreadablePostError):
        return []


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400."""
    return _answer(request, HTTPStatus.BAD_REQUEST, "400.html")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403."""
    return _answer(request, HTTPStatus.FORBIDDEN, "403.html")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer 403 to a form without a valid token: nearly always a page that was open for too long."""
    return _answer(request, HTTPStatus.FORBIDDEN, "403_csrf.html", STALE)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404, the same for what does not exist and what is not for this person."""
    return _answer(request, HTTPStatus.NOT_FOUND, "404.html")


def too_large(request: HttpRequest) -> HttpResponse:
    """Answer 413, before there is a session."""
    return _answer(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "413.html")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500; 503 while a server that the portal needs is away."""
    if isinstance(sys.exception(), _AWAY):
        here = request.get_full_path()
        answer = _answer(
            request, HTTPStatus.SERVICE_UNAVAILABLE, "503.html", typed=_typed(request), here=here
        )
        answer["Retry-After"] = "10"
        return answer
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "500.html")

"""User tokens from a CSV file: every error by line, what would be issued, and all of it at once."""

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.web.csv import csv_response, lines
from portal.web.forms import CsvForm, posted
from tokens.importing import COLUMNS, EXAMPLE, SHAPE, read
from tokens.models import UserToken
from tokens.services import issue_tokens

HEADS = ("Project", "Person", "Address", "Name", "Expires", "Secret")


@require_http_methods(["GET", "POST"])
@require(Right.ISSUE_TOKEN)
def upload(request: HttpRequest) -> HttpResponse:
    """Read a file or pasted lines and show every error, or what they would issue."""
    form = CsvForm(posted(request), request.FILES or None, shape=SHAPE)
    if form.is_valid():
        return _checked(request, form, form.content)
    return _page(request, form)


def _checked(request: HttpRequest, form: CsvForm, content: bytes) -> HttpResponse:
    try:
        draft = read(content, by=person_of(request))
    except RuleBroken as broken:
        form.add_broken_rule(broken)
        return _page(request, form)
    work = {} if draft.problems else {"text": content.decode("utf-8-sig"), "once": uuid.uuid4()}
    return _page(request, form, draft=draft, problems=draft.problems, rows=draft.rows, **work)


def _page(request: HttpRequest, form: CsvForm, **found: Any) -> HttpResponse:
    context = {"form": form, "currency": current_organization().currency, **found}
    is_wrong = bool(form.errors or found.get("problems"))
    return render(request, "tokens/import.html", context, status=422 if is_wrong else 200)


@require_GET
@require(Right.ISSUE_TOKEN)
def template(request: HttpRequest) -> StreamingHttpResponse:
    """Download a file to fill in, with one line as an example."""
    return csv_response("user-tokens-template", COLUMNS, [EXAMPLE])


@require_POST
@require(Right.ISSUE_TOKEN)
def create(request: HttpRequest) -> HttpResponseBase:
    """Issue what was shown, all or nothing; the secrets are in this one answer and nowhere else.

    The lines are read and checked again: what has changed since they were shown is told, and nothing is issued.
    """
    try:
        once = uuid.UUID(request.POST.get("once", ""))
    except ValueError:
        return HttpResponseBadRequest("This preview is not whole. Check the file again.")
    form = CsvForm({"text": request.POST.get("text", "")}, shape=SHAPE)
    if not form.is_valid():
        return _page(request, form)
    try:
        draft = read(form.content, by=person_of(request))
        if draft.problems:
            return _page(request, form, draft=draft, problems=draft.problems)
        issued = issue_tokens(
            orders=[row.order for row in draft.rows],
            once=once,
            actor=actor_of(request),
            reason="From a CSV file",
        )
    except RuleBroken as broken:
        form.add_broken_rule(broken)
        return _page(request, form)
    response = _secrets(request, issued)
    response["Cache-Control"] = "no-store"
    return response


def _secrets(request: HttpRequest, issued: list[tuple[UserToken, str]]) -> HttpResponseBase:
    """Return the secrets, as a page or as a file."""
    rows = [
        (
            token.project.code,
            token.person.name,
            token.person.email,
            token.name,
            token.expires,
            secret,
        )
        for token, secret in issued
    ]
    if request.POST.get("as") == "csv":
        return csv_response("user-tokens-issued", HEADS, rows)
    text = "".join(lines(HEADS, rows)).removeprefix("\ufeff")
    return render(request, "tokens/imported.html", {"issued": issued, "text": text})

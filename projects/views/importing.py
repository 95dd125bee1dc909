"""Projects from a CSV file: upload, every error by line, what would be created, and creating it step by step."""

from typing import Any

from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from groups.access import groups_with
from portal.accounts.access import can, person_of, refuse_unless, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.web.csv import csv_response
from portal.web.forms import CsvForm, posted
from portal.web.htmx import render_page_or_region, saved
from projects.importing import COLUMNS, EXAMPLE, SHAPE, create_row, read
from projects.work import Work

_SALT = "projects.import"
_DRAWN = 200


@require_http_methods(["GET", "POST"])
@require(Right.CREATE_PROJECT)
def upload(request: HttpRequest) -> HttpResponse:
    """Read a file and show every error, or what it would create."""
    person = person_of(request)
    form = CsvForm(posted(request), request.FILES or None, shape=SHAPE)
    context: dict[str, Any] = {"form": form, "currency": current_organization().currency}
    if form.is_valid():
        groups = {group.code: group for group in groups_with(person, Right.CREATE_PROJECT)}
        needs_group = not can(person, Right.CREATE_PROJECT, everywhere=True)
        try:
            draft = read(form.content, groups=groups, needs_group=needs_group)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            context |= {
                "draft": draft,
                "problems": draft.problems[:_DRAWN],
                "rows": draft.rows[:_DRAWN],
                "work": Work(person.pk, [] if draft.problems else draft.rows).signed(_SALT),
            }
    is_wrong = bool(form.errors) or ("draft" in context and bool(context["problems"]))
    return render(request, "projects/import.html", context, status=422 if is_wrong else 200)


@require_GET
@require(Right.CREATE_PROJECT)
def template(request: HttpRequest) -> StreamingHttpResponse:
    """Download a file to fill in, with one line as an example."""
    return csv_response("projects-template", COLUMNS, [EXAMPLE])


@require_POST
@require(Right.CREATE_PROJECT)
def create(request: HttpRequest) -> HttpResponse:
    """Create the next few projects of a file that was shown, and say how far it has come."""
    person, actor = person_of(request), actor_of(request)
    try:
        work = Work.opened(request.POST.get("work", ""), _SALT)
    except BadSignature:
        return HttpResponseBadRequest("This preview is too old. Choose the file again.")
    refuse_unless(work.by == person.pk, request, Right.CREATE_PROJECT)
    groups = list(groups_with(person, Right.CREATE_PROJECT))
    everywhere = can(person, Right.CREATE_PROJECT, everywhere=True)

    def create_one(row: dict[str, Any]) -> None:
        refuse_unless(bool(row["group"]) or everywhere, request, Right.CREATE_PROJECT)
        create_row(row, groups=groups, actor=actor)

    work.step(create_one, "name")
    back = reverse("projects:list")
    words = f"{work.done:,} project{'' if work.done == 1 else 's'} created"
    if not work.rows and not work.failures:
        return saved(request, to=back, toast=words)
    context = work.progress(
        _SALT,
        words=words,
        what="Project",
        title="Import projects",
        place="Projects",
        back=back,
        go_on=request.path,
    )
    return render_page_or_region(
        request, "projects/import_progress.html", "projects/_import_progress.html", context
    )

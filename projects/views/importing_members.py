"""People of a project from a CSV file: every error by line, who would be added, and adding them step by step."""

from typing import Any

from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts.access import person_of, refuse_unless, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.web.csv import csv_response
from portal.web.forms import CsvForm, posted
from portal.web.htmx import render_page_or_region, saved
from projects.access import get_project, rights_in
from projects.importing_members import COLUMNS, EXAMPLE, SHAPE, add_row, read
from projects.models import Project
from projects.services import target_of
from projects.work import Work

_DRAWN = 200


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def upload(request: HttpRequest, code: str) -> HttpResponse:
    """Read a file and show every error, or whom it would add."""
    project = get_project(request, code, need=Right.MANAGE_MEMBERS)
    form = CsvForm(posted(request), request.FILES or None, shape=SHAPE)
    context: dict[str, Any] = {"form": form, "project": project}
    if form.is_valid():
        try:
            draft = read(form.content, project=project, can_govern=_governs(request, project))
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            work = Work(person_of(request).pk, [] if draft.problems else draft.rows)
            context |= {
                "draft": draft,
                "problems": draft.problems[:_DRAWN],
                "rows": draft.rows[:_DRAWN],
                "new": sum(not row["now"] for row in draft.rows),
                "work": work.signed(_salt(project)),
            }
    is_wrong = bool(form.errors or context.get("problems"))
    return render(request, "projects/import_members.html", context, status=422 if is_wrong else 200)


@require_GET
@require(Right.SEE_PROJECTS)
def template(request: HttpRequest, code: str) -> StreamingHttpResponse:
    """Download a file to fill in, with one line as an example."""
    get_project(request, code, need=Right.MANAGE_MEMBERS)
    return csv_response("members-template", COLUMNS, [EXAMPLE])


@require_POST
@require(Right.SEE_PROJECTS)
def add(request: HttpRequest, code: str) -> HttpResponse:
    """Add the next few people of a file that was shown, and say how far it has come."""
    project = get_project(request, code, need=Right.MANAGE_MEMBERS)
    try:
        work = Work.opened(request.POST.get("work", ""), _salt(project))
    except BadSignature:
        return HttpResponseBadRequest("This preview is too old. Choose the file again.")
    refuse_unless(work.by == person_of(request).pk, request, Right.MANAGE_MEMBERS, target_of(project))
    governs, actor = _governs(request, project), actor_of(request)
    work.step(lambda row: add_row(row, project=project, can_govern=governs, actor=actor), "person")
    back = reverse("projects:members", args=[code])
    words = f"{work.done:,} {'person' if work.done == 1 else 'people'} added to {project.name}"
    if not work.rows and not work.failures:
        return saved(request, to=back, toast=words)
    context = work.progress(
        _salt(project),
        words=words,
        what="Person",
        title="Import people",
        place=project.name,
        back=back,
        go_on=request.path,
    )
    return render_page_or_region(
        request, "projects/import_progress.html", "projects/_import_progress.html", context
    )


def _governs(request: HttpRequest, project: Project) -> bool:
    return rights_in(person_of(request), project)["set_limits"]


def _salt(project: Project) -> str:
    return f"projects.import_members {project.pk}"

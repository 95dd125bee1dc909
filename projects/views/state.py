"""Settings of a project, and its state: active, paused or archived."""

from datetime import timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.web.forms import posted
from portal.web.htmx import render_dialog, saved
from projects.access import get_project
from projects.deletion import delete_project, traces_of
from projects.envelopes import warnings_about
from projects.forms import ReasonForm, SettingsForm
from projects.models import Project
from projects.pages import page_context
from projects.services import set_project_state, update_project

WORDS = {
    ("active", "paused"): ("Pause", "Pause project", "paused"),
    ("active", "archived"): ("Archive", "Archive project", "archived"),
    ("paused", "archived"): ("Archive", "Archive project", "archived"),
    ("paused", "active"): ("Resume", "Resume project", "active again"),
    ("archived", "active"): ("Restore", "Restore project", "active again"),
    ("archived", "paused"): ("Restore", "Restore project", "paused again"),
}


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def settings(request: HttpRequest, code: str) -> HttpResponse:
    """Change name and description, and for those who govern the project its group, cost centre and models."""
    project = get_project(request, code, need=Right.EDIT_PROJECT)
    context = page_context(request, project, "settings")
    governs = context["can"]["set_limits"]
    form = SettingsForm(posted(request), project=project, person=person_of(request), can_govern=governs)
    if form.is_valid():
        try:
            changed = update_project(project=project, actor=actor_of(request), seen=form.seen, **form.values)
            warnings = warnings_about([project.pk]) if changed.group_id != project.group_id else []
            toast = ". ".join(["Settings saved", *warnings])
            return saved(request, to=reverse("projects:settings", args=[code]), toast=toast)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
    return render(
        request, "projects/settings.html", context | {"form": form}, status=422 if form.errors else 200
    )


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def change(request: HttpRequest, code: str, state: str) -> HttpResponse:
    """Pause, resume, archive or restore, after saying what stops; to archive, the code is typed."""
    project = get_project(request, code, need=Right.EDIT_PROJECT)
    back = reverse("projects:detail", args=[code])
    if (words := WORDS.get((project.state, state))) is None:
        if state not in Project.State.values:
            raise Http404
        return saved(
            request, to=back, toast=f"{project.name} is {project.get_state_display().lower()} already"
        )
    verb, button, becomes = words
    form, error = ReasonForm(posted(request)), ""
    if form.is_valid():
        if state == Project.State.ARCHIVED and request.POST.get("confirm", "").strip() != project.code:
            error = f"Type {project.code}, as it stands above."
        else:
            before, reason = project.state, form.cleaned_data["reason"]
            try:
                set_project_state(project=project, state=state, actor=actor_of(request), reason=reason)
            except RuleBroken as broken:
                form.add_error(None, broken.message)
            else:
                # What was done by mistake is undone at once; archiving, too, unless it needs the code again.
                was_archived = before == Project.State.ARCHIVED
                undo = "" if was_archived else reverse("projects:state", args=[code, before])
                return saved(request, to=back, toast=f"{project.name} is {becomes}", undo=undo)
    context = {
        "form": form,
        "project": project,
        "verb": verb,
        "button": button,
        "state": state,
        **_in_use(project),
    }
    context |= {
        "code": project.code,
        "noun": "project",
        "keep": "Keep project",
        "danger": button,
        "error": error,
    }
    template = (
        "projects/archive_dialog.html" if state == Project.State.ARCHIVED else "projects/state_dialog.html"
    )
    status = 422 if error or form.errors else 200
    return render_dialog(
        request, template, context, title=f"{verb} {project.name}?", back=back, status=status
    )


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def delete(request: HttpRequest, code: str) -> HttpResponse:
    """Delete a project that was never used, after its code was typed; another can be archived."""
    project = get_project(request, code, need=Right.CREATE_PROJECT)
    form, error = ReasonForm(posted(request)), ""
    if form.is_valid():
        if request.POST.get("confirm", "").strip() != project.code:
            error = f"Type {project.code}, as it stands above."
        else:
            try:
                delete_project(project=project, actor=actor_of(request), reason=form.cleaned_data["reason"])
                return saved(request, to=reverse("projects:list"), toast=f"Project {project.name} deleted")
            except RuleBroken as broken:
                error = broken.message
    traces = traces_of(project)
    context = {
        "form": form,
        "project": project,
        "traces": traces,
        "people": project.memberships.count(),
        "code": project.code,
        "noun": "project",
        "keep": "Keep project",
        "danger": "Delete project",
        "error": error,
    }
    return render_dialog(
        request,
        "projects/used_dialog.html" if traces else "projects/delete_dialog.html",
        context,
        title=f"Delete {project.name}?",
        back=reverse("projects:settings", args=[code]),
        status=422 if error else 200,
    )


def _in_use(project: Project) -> dict[str, Any]:
    """Return the credentials that work, how many were used in the last hour, and the names of those keys."""
    since = timezone.now() - timedelta(hours=1)
    tokens, keys = project.tokens.active(), project.api_keys.active()
    running = keys.filter(last_used__gte=since).order_by("-last_used", "pk")
    return {
        "tokens": tokens.count(),
        "tokens_used": tokens.filter(last_used__gte=since).count(),
        "keys": keys.count(),
        "keys_used": running.count(),
        "running": running.select_related("owner")[:5],
    }

"""Limits and rates of a project: the chain of levels, and the form that changes its own."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.approvals.selectors import waiting_raises
from portal.decision.forms import LimitForm
from portal.decision.limits import chain, deciding
from portal.organization.selectors import current as current_organization
from portal.web.forms import posted
from portal.web.htmx import saved
from projects.access import get_project
from projects.pages import clock, page_context, sheet_of


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def limits(request: HttpRequest, code: str) -> HttpResponse:
    """Show every level; those who may set limits change the project's own."""
    need = Right.LOWER_LIMITS if request.method == "POST" else Right.SEE_PROJECTS
    project, organization = get_project(request, code, need=need), current_organization()
    sheet, here = sheet_of(project, organization, person_of(request)), reverse("projects:limits", args=[code])
    form = LimitForm(posted(request), sheet=sheet, currency=organization.currency)
    if form.is_valid() and form.save(actor=actor_of(request)):
        return saved(request, to=here, toast=form.toast(f"Limits saved for {project.name}"))
    context = page_context(request, project, "limits")
    levels = chain(sheet.places, context["calendar"])
    context |= {
        "levels": levels,
        "deciding": deciding(levels),
        "hide_wide": not context["can"]["see_groups"],
        "others": [(level, limit) for level in levels for limit in level.others],
        "raises": waiting_raises(project=project.pk),
        "raise_of": f"project={project.code}",
    }
    if context["can"]["lower_limits"]:
        context |= {
            "form": form,
            "form_title": "Change this project’s limits",
            "preview": form.preview(context["calendar"]),
            "preview_url": reverse("projects:preview", args=[code]),
            "back": here,
        }
    return render(request, "projects/limits.html", context, status=422 if form.errors else 200)


@require_POST
@require(Right.SEE_PROJECTS)
def preview(request: HttpRequest, code: str) -> HttpResponse:
    """Show what saving the typed limits would do; nothing is saved."""
    project, organization = get_project(request, code, need=Right.LOWER_LIMITS), current_organization()
    sheet = sheet_of(project, organization, person_of(request))
    form = LimitForm(request.POST, sheet=sheet, currency=organization.currency)
    form.is_valid()
    return render(request, "components/_limit_preview.html", {"form": form, "preview": form.preview(clock())})

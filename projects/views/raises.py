"""Ask for a raise of a project's limit."""

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from portal.accounts.access import people_who_may, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.web.forms import posted
from portal.web.htmx import render_dialog, saved
from projects.access import get_project, rights_in
from projects.raises import RaiseForm
from projects.requests import ask_for_raise


@require_http_methods(["GET", "POST"])
@require(Right.ASK_RAISE)
def ask(request: HttpRequest, code: str) -> HttpResponse:
    """Put a higher limit before those who decide it."""
    project, person = get_project(request, code, need=Right.ASK_RAISE), person_of(request)
    form = RaiseForm(
        posted(request),
        project=project,
        currency=current_organization().currency,
        chosen=request.GET.get("limit", ""),
    )
    if form.is_valid():
        wanted = form.cleaned_data
        try:
            made = ask_for_raise(
                limit=wanted["limit"],
                project=project,
                amount=wanted["amount"],
                requester=person,
                actor=actor_of(request),
                reason=wanted["reason"],
                until=form.until_day,
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            toast = f"Asked for: {made.label}" if made.is_waiting else f"Raised: {made.label}"
            return saved(request, to=reverse("approvals:detail", args=[made.pk]), toast=toast)
    others = people_who_may(Right.APPROVE_RAISES, group=project.group_id).exclude(pk=person.pk)
    alone = rights_in(person, project)[Right.SET_LIMITS] and not others.exists()
    return render_dialog(
        request,
        "projects/raise_dialog.html",
        {"form": form, "project": project, "alone": alone},
        title=f"Ask for a raise for {project.name}",
        back=reverse("projects:limits", args=[code]),
        status=422 if form.errors else 200,
    )

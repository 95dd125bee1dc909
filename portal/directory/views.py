"""Ask for a run of the synchronization and watch it; hand over what somebody leaves."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.forms import LinkForm
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.accounts.services import person_in_directory
from portal.directory import services
from portal.directory.selectors import left_behind, sync_context
from portal.lib.errors import RuleBroken
from portal.web.htmx import render_dialog, saved


@require_POST
@require(Right.RUN_JOBS)
def sync(request: HttpRequest) -> HttpResponse:
    """Ask for a run; the worker takes it within seconds."""
    services.ask_for_run(actor=actor_of(request))
    may_see = can(person_of(request), Right.SEE_PEOPLE)
    page = reverse("accounts:people" if may_see else "organization:settings")
    return saved(request, page, "The synchronization begins within seconds", refresh=["directory-sync"])


@require_GET
@require(Right.SEE_SETTINGS)
def status(request: HttpRequest) -> HttpResponse:
    """Show how far the run is."""
    may_sync = can(person_of(request), Right.RUN_JOBS)
    return render(request, "directory/_sync.html", {**sync_context(), "may_sync": may_sync})


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ACCESS)
def hand_over(request: HttpRequest, pk: int) -> HttpResponse:
    """Give the projects and keys that somebody leaves to another person."""
    person = get_object_or_404(Person, pk=pk)
    form = LinkForm(request.POST if request.method == "POST" else None)
    form.fields["person"].label = "Who takes over"
    page = reverse("accounts:person", args=[pk])
    if form.is_valid():
        actor = actor_of(request)
        try:
            heir = person_in_directory(found=form.cleaned_data["person"], actor=actor)
            done = services.hand_over(person=person, to=heir, actor=actor, reason=form.cleaned_data["reason"])
        except RuleBroken as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
        else:
            return saved(request, page, f"{heir} takes over {done.words}")
    context = {"form": form, "person": person, "left": left_behind(person)}
    return render_dialog(
        request,
        "directory/hand_over.html",
        context,
        title=f"Hand over what {person} leaves",
        back=page,
        status=422 if form.errors else 200,
    )

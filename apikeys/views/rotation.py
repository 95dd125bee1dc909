"""Give an API key another secret, and end the overlap early."""

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from apikeys.access import get_key
from apikeys.forms import RotateForm
from apikeys.rotation import end_overlap, rotate_api_key
from apikeys.tables import REGION
from apikeys.views.changes import page_of_key
from portal.accounts.access import require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.web.forms import posted
from portal.web.htmx import render_dialog, saved
from projects.forms import ReasonForm

LIVE = timedelta(hours=1)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_API_KEYS)
def rotate(request: HttpRequest, key_id: str) -> HttpResponse:
    """Make another secret; it is in this one answer and nowhere else."""
    key, now = get_key(request, key_id), timezone.now()
    form = RotateForm(posted(request), key=key, organization=current_organization())
    if form.is_valid():
        try:
            key, secret = rotate_api_key(
                key=key,
                overlap_hours=form.cleaned_data["overlap"],
                days=form.cleaned_data.get("days"),
                actor=actor_of(request),
                reason=form.cleaned_data["reason"],
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            response = render_dialog(
                request,
                "apikeys/rotated_dialog.html",
                {"secret": secret, "label": "New secret of the API key", "key": key},
                title=f"{key.name} has another secret",
                back=page_of_key(key),
                refresh=[REGION],
            )
            response["Cache-Control"] = "no-store"
            return response
    shown = {
        "form": form,
        "key": key,
        "age": (now - (key.rotated or key.created)).days,
        "is_live": key.last_used is not None and now - key.last_used < LIVE,
    }
    return render_dialog(
        request,
        "apikeys/rotate_dialog.html",
        shown,
        title=f"Rotate {key.name}",
        back=page_of_key(key),
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_API_KEYS)
def end(request: HttpRequest, key_id: str) -> HttpResponse:
    """Refuse the previous secret from now on, after saying when it was last used."""
    key, now = get_key(request, key_id), timezone.now()
    form = ReasonForm(posted(request))
    if form.is_valid():
        end_overlap(key=key, actor=actor_of(request), reason=form.cleaned_data["reason"])
        words = f"The previous secret of {key.name} has ended"
        return saved(request, to=page_of_key(key), toast=words, refresh=[REGION])
    is_live = key.previous_used is not None and now - key.previous_used < LIVE
    return render_dialog(
        request,
        "apikeys/end_dialog.html",
        {"form": form, "key": key, "is_live": is_live},
        title=f"End the overlap of {key.name}?",
        back=page_of_key(key),
        status=422 if form.errors else 200,
    )

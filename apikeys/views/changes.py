"""Change, suspend, resume and revoke one API key, and set its limits."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from apikeys.access import get_key
from apikeys.forms import ChangeForm
from apikeys.models import ApiKey
from apikeys.services import (
    label_of,
    resume_api_key,
    revoke_api_key,
    suspend_api_key,
    target_of,
    update_api_key,
)
from apikeys.tables import REGION
from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.credentials.forms import SuspendForm
from portal.credentials.pages import credential_sheet, limits_context
from portal.decision.forms import LimitForm
from portal.decision.limits import LimitSheet
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.web.forms import posted
from portal.web.htmx import render_dialog, saved
from projects.forms import ReasonForm
from projects.pages import clock


def page_of_key(key: ApiKey) -> str:
    """Return the address of the key's page."""
    return reverse("apikeys:detail", args=[key.key_id])


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_API_KEYS)
def edit(request: HttpRequest, key_id: str) -> HttpResponse:
    """Change who answers for a key and what it may do."""
    key = get_key(request, key_id)
    form = ChangeForm(posted(request), key=key)
    if form.is_valid():
        values = form.values
        reason = values.pop("reason")
        try:
            update_api_key(key=key, seen=form.seen, actor=actor_of(request), reason=reason, **values)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=page_of_key(key), toast=f"Key {values['name']} saved")
    context = {"form": form, "key": key, "back": page_of_key(key)}
    return render(request, "apikeys/edit.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_API_KEYS)
def suspend(request: HttpRequest, key_id: str) -> HttpResponse:
    """Switch a key off for the time being."""
    key = get_key(request, key_id)
    form = SuspendForm(posted(request))
    if form.is_valid():
        try:
            suspend_api_key(key=key, reason=form.cleaned_data["reason"], actor=actor_of(request))
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=page_of_key(key), toast=f"Key {key.name} suspended", refresh=[REGION])
    return render_dialog(
        request,
        "apikeys/suspend_dialog.html",
        {"form": form, "key": key},
        title=f"Suspend {key.name}?",
        back=page_of_key(key),
        status=422 if form.errors else 200,
    )


@require_POST
@require(Right.MANAGE_API_KEYS)
def resume(request: HttpRequest, key_id: str) -> HttpResponse:
    """End a suspension; a revoked key stays revoked, and its page says so."""
    key = get_key(request, key_id)
    try:
        resume_api_key(key=key, actor=actor_of(request))
    except RuleBroken:
        return redirect(page_of_key(key))
    return saved(request, to=page_of_key(key), toast=f"Key {key.name} resumed")


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def revoke(request: HttpRequest, key_id: str) -> HttpResponse:
    """Revoke one key, after saying what stops."""
    key = get_key(request, key_id)
    form, back = ReasonForm(posted(request)), reverse("projects:keys", args=[key.project.code])
    if form.is_valid():
        revoke_api_key(key=key, actor=actor_of(request), reason=form.cleaned_data["reason"])
        return saved(request, to=back, toast=f"Key {key.name} revoked", refresh=[REGION])
    return render_dialog(
        request,
        "apikeys/revoke_dialog.html",
        {"form": form, "key": key},
        title=f"Revoke {key.name}?",
        back=back,
        status=422 if form.errors else 200,
    )


def _sheet(person: Person, key: ApiKey) -> LimitSheet:
    return credential_sheet(person, key, key.project, label=label_of(key), target=target_of(key))


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_API_KEYS)
def limits(request: HttpRequest, key_id: str) -> HttpResponse:
    """Show every limit that holds a key, and change its own."""
    key, organization = get_key(request, key_id), current_organization()
    sheet = _sheet(person_of(request), key)
    form = LimitForm(posted(request), sheet=sheet, currency=organization.currency)
    if form.is_valid() and form.save(actor=actor_of(request)):
        return saved(request, to=page_of_key(key), toast=f"Limits saved for {key.name}")
    context = limits_context(person_of(request), key.project, sheet, form)
    context |= {
        "heading": key.name,
        "crumb": "API keys",
        "list_url": reverse("apikeys:list"),
        "credential": key.key_id,
        "form_title": "Change this key’s limits",
        "preview_url": reverse("apikeys:preview", args=[key.key_id]),
        "back": page_of_key(key),
    }
    return render(request, "credentials/limits.html", context, status=422 if form.errors else 200)


@require_POST
@require(Right.MANAGE_API_KEYS)
def preview(request: HttpRequest, key_id: str) -> HttpResponse:
    """Show what saving the typed limits would do; nothing is saved."""
    key, organization = get_key(request, key_id), current_organization()
    form = LimitForm(request.POST, sheet=_sheet(person_of(request), key), currency=organization.currency)
    form.is_valid()
    shown = {"form": form, "preview": form.preview(clock())}
    return render(request, "components/_limit_preview.html", shown)

"""Change, suspend, resume and revoke one user token, and set its limits."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

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
from tokens.access import get_token
from tokens.forms import ChangeForm
from tokens.models import UserToken
from tokens.services import (
    label_of,
    resume_token,
    revoke_token,
    suspend_token,
    target_of,
    update_token,
)
from tokens.tables import REGION


def page_of_token(token: UserToken) -> str:
    """Return the address of the token's page."""
    return reverse("tokens:detail", args=[token.key_id])


@require_http_methods(["GET", "POST"])
@require(Right.ISSUE_TOKEN)
def edit(request: HttpRequest, key_id: str) -> HttpResponse:
    """Change what a token is called and may do."""
    token = get_token(request, key_id, need=Right.ISSUE_TOKEN)
    form = ChangeForm(posted(request), token=token)
    if form.is_valid():
        values = form.values
        reason = values.pop("reason")
        try:
            update_token(token=token, seen=form.seen, actor=actor_of(request), reason=reason, **values)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=page_of_token(token), toast=f"Token {values['name']} saved")
    context = {"form": form, "token": token, "back": page_of_token(token)}
    return render(request, "tokens/edit.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@require(Right.ISSUE_TOKEN)
def suspend(request: HttpRequest, key_id: str) -> HttpResponse:
    """Switch a token off for the time being."""
    token = get_token(request, key_id, need=Right.ISSUE_TOKEN)
    form = SuspendForm(posted(request))
    if form.is_valid():
        try:
            suspend_token(token=token, reason=form.cleaned_data["reason"], actor=actor_of(request))
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(
                request, to=page_of_token(token), toast=f"Token {token.name} suspended", refresh=[REGION]
            )
    return render_dialog(
        request,
        "tokens/suspend_dialog.html",
        {"form": form, "token": token},
        title=f"Suspend the token of {token.person}?",
        back=page_of_token(token),
        status=422 if form.errors else 200,
    )


@require_POST
@require(Right.ISSUE_TOKEN)
def resume(request: HttpRequest, key_id: str) -> HttpResponse:
    """End a suspension; of a revoked token or a disabled person nothing is resumed, and the page says why."""
    token = get_token(request, key_id, need=Right.ISSUE_TOKEN)
    try:
        resume_token(token=token, actor=actor_of(request))
    except RuleBroken:
        return redirect(page_of_token(token))
    return saved(request, to=page_of_token(token), toast=f"Token {token.name} resumed")


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def revoke(request: HttpRequest, key_id: str) -> HttpResponse:
    """Revoke one token, after saying what stops."""
    token = get_token(request, key_id)
    form, back = ReasonForm(posted(request)), reverse("projects:tokens", args=[token.project.code])
    if form.is_valid():
        revoke_token(token=token, actor=actor_of(request), reason=form.cleaned_data["reason"])
        return saved(request, to=back, toast=f"Token of {token.person} revoked", refresh=[REGION])
    return render_dialog(
        request,
        "tokens/revoke_dialog.html",
        {"form": form, "token": token},
        title=f"Revoke the token of {token.person}?",
        back=back,
        status=422 if form.errors else 200,
    )


def _sheet(person: Person, token: UserToken) -> LimitSheet:
    return credential_sheet(person, token, token.project, label=label_of(token), target=target_of(token))


@require_http_methods(["GET", "POST"])
@require(Right.ISSUE_TOKEN)
def limits(request: HttpRequest, key_id: str) -> HttpResponse:
    """Show every limit that holds a token, and change its own."""
    token, organization = get_token(request, key_id, need=Right.ISSUE_TOKEN), current_organization()
    sheet = _sheet(person_of(request), token)
    form = LimitForm(posted(request), sheet=sheet, currency=organization.currency)
    if form.is_valid() and form.save(actor=actor_of(request)):
        return saved(request, to=page_of_token(token), toast=f"Limits saved for {token.name}")
    context = limits_context(person_of(request), token.project, sheet, form)
    context |= {
        "heading": token.name,
        "crumb": "User tokens",
        "list_url": reverse("tokens:list"),
        "credential": token.key_id,
        "form_title": "Change this token’s limits",
        "preview_url": reverse("tokens:preview", args=[token.key_id]),
        "back": page_of_token(token),
    }
    return render(request, "credentials/limits.html", context, status=422 if form.errors else 200)


@require_POST
@require(Right.ISSUE_TOKEN)
def preview(request: HttpRequest, key_id: str) -> HttpResponse:
    """Show what saving the typed limits would do; nothing is saved."""
    token, organization = get_token(request, key_id, need=Right.ISSUE_TOKEN), current_organization()
    form = LimitForm(request.POST, sheet=_sheet(person_of(request), token), currency=organization.currency)
    form.is_valid()
    shown = {"form": form, "preview": form.preview(clock())}
    return render(request, "components/_limit_preview.html", shown)

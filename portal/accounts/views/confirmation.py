"""Confirm that it is you: the way to Microsoft and back for what needs a fresh sign-in, and the silent check."""

import time
from typing import Any

import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from portal.accounts import recheck, services, step_up
from portal.accounts.access import person_of
from portal.accounts.actors import actor_of
from portal.accounts.entra.discovery import Untrusted, discovery
from portal.accounts.entra.id_token import Claims
from portal.accounts.entra.provider import ID
from portal.accounts.models import Person
from portal.accounts.sessions import CHECKED, HINTS, safe_next
from portal.accounts.step_up import Guarded

PURPOSE = "step_up"


class SomebodyElse(Exception):
    """Microsoft's answer is about another account than the session's."""


@require_http_methods(["GET", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Say why Microsoft asks again, and send the browser there."""
    given = request.POST if request.method == "POST" else request.GET
    kind = Guarded(given["kind"]) if given.get("kind") in Guarded.values else Guarded.SETTINGS
    target = safe_next(given.get("next", ""))
    context = {"kind": kind, "next": target, "has_form": step_up.SENT in request.session}
    if request.method == "GET":
        return render(request, "accounts/confirm.html", context)
    hint = request.session.get(HINTS, {}).get("logout_hint")
    parameters = step_up.parameters(kind) | ({"login_hint": hint} if hint else {})
    provider: Any = get_adapter(request).get_provider(request, ID)
    try:
        discovery().probe()
        response: HttpResponse = provider.begin(
            request, target, parameters=parameters, purpose=PURPOSE, kind=kind.value
        )
    except (requests.RequestException, Untrusted, OAuth2Error):
        return render(request, "accounts/confirm.html", {**context, "is_unavailable": True}, status=503)
    return response


@require_GET
def resume(request: HttpRequest) -> HttpResponse:
    """Offer to send the form that waited for the confirmation."""
    context = {"sent": step_up.take_sent(request.session), "next": safe_next(request.GET.get("next", ""))}
    return render(request, "accounts/resume.html", context)


def require_same(request: HttpRequest, claims: Claims) -> None:
    """Raise SomebodyElse unless the session's person is the one a verified token names."""
    person = request.user
    if not isinstance(person, Person) or (person.tid, person.oid) != (claims.tid, claims.oid):
        raise SomebodyElse


def somebody_else(request: HttpRequest, purpose: str, claims: Claims) -> HttpResponse:
    """Answer to a token of another account: a confirmation is refused, a silent check ends the session."""
    if purpose == recheck.PURPOSE or not isinstance(request.user, Person):
        return recheck.end(request, {}, "another account is signed in there")
    return _refused(request, "The account is not the one that is signed in here.")


def confirmed(
    request: HttpRequest, purpose: str, state: dict[str, Any], claims: dict[str, Any]
) -> HttpResponse:
    """Note what Microsoft has confirmed, and go back to the page."""
    target = safe_next(state.get("next") or "")
    request.session[CHECKED] = int(time.time())
    if purpose == recheck.PURPOSE:
        return HttpResponseRedirect(target)
    kind = Guarded(state["kind"])
    if not step_up.is_proof(claims, kind):
        return _refused(request, "The sign-in is not a fresh one: neither auth_time nor acrs proves it.")
    request.session.cycle_key()
    step_up.give(request.session, kind)
    services.note_presence(person=person_of(request), actor=actor_of(request), kind=kind.value)
    if step_up.SENT in request.session:
        return HttpResponseRedirect(reverse("accounts:resume", query={"next": target}))
    return HttpResponseRedirect(target)


def _refused(request: HttpRequest, reason: str) -> HttpResponse:
    services.note_presence_refused(person=person_of(request), actor=actor_of(request), reason=reason)
    context = {"reason": reason, "reference": getattr(request, "request_id", "")}
    return render(request, "accounts/unconfirmed.html", context, status=403)

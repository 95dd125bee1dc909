"""Every quarter of an hour of activity, Microsoft is asked without a word whether the account may still sign in."""

import time
from typing import Any

import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.http import urlencode

from portal.accounts import services
from portal.accounts.actors import actor_of
from portal.accounts.entra.discovery import Untrusted, discovery
from portal.accounts.entra.provider import ID
from portal.accounts.models import Person
from portal.accounts.sessions import CHECKED, HINTS, safe_next
from portal.web.htmx import wants_region

PURPOSE = "recheck"
EVERY = 15 * 60  # seconds
AGAIN = 60  # seconds until the next try where Microsoft did not answer
TRIED = "check_tried"  # session key: when the browser was last sent to Microsoft for this
PASSING = frozenset({"temporarily_unavailable", "server_error"})  # says nothing about the account


def is_due(request: HttpRequest) -> bool:
    """Tell whether this request should go by Microsoft: a whole page, in a session that began there."""
    checked = request.session.get(CHECKED)
    if checked is None or request.method != "GET" or wants_region(request):
        return False
    if request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate":
        return False
    now = time.time()
    return bool(now - checked >= EVERY and now - request.session.get(TRIED, 0) >= AGAIN)


def begin(request: HttpRequest) -> HttpResponse | None:
    """Send the browser to Microsoft, to come back at once; None where Microsoft is away: the session goes on."""
    request.session[TRIED] = int(time.time())
    hint = request.session.get(HINTS, {}).get("logout_hint")
    parameters = {"prompt": "none"} | ({"login_hint": hint} if hint else {})
    try:
        discovery().probe()
        provider: Any = get_adapter(request).get_provider(request, ID)
        response: HttpResponse = provider.begin(
            request, safe_next(request.get_full_path()), parameters=parameters, purpose=PURPOSE
        )
    except (requests.RequestException, Untrusted, OAuth2Error):
        return None
    return response


def put_off(request: HttpRequest, state: dict[str, Any]) -> HttpResponse:
    """Go on: nobody could say anything about the account."""
    return HttpResponseRedirect(safe_next(state.get("next") or ""))


def unconfirmed(request: HttpRequest, state: dict[str, Any], exception: Exception | None) -> HttpResponse:
    """Microsoft did not confirm the account: the session is over, unless it was Microsoft that failed."""
    code, text = request.GET.get("error", ""), request.GET.get("error_description", "")
    if isinstance(exception, requests.RequestException) or code in PASSING:
        return put_off(request, state)
    return end(request, state, str(exception or text or code)[:300])


def end(request: HttpRequest, state: dict[str, Any], reason: str) -> HttpResponse:
    """End this session and ask for a sign-in that leads back to the page."""
    if isinstance(request.user, Person):
        services.note_session_ended(
            person=request.user,
            actor=actor_of(request),
            reason=f"Microsoft does not confirm the account: {reason}",
        )
    logout(request)
    target = safe_next(state.get("next") or "")
    return HttpResponseRedirect(f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': target})}")

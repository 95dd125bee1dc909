"""Sign in, sign out, and the pages around them."""

from typing import Any
from urllib.parse import urlencode

import requests
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST
from redis.exceptions import RedisError

from portal.accounts import services
from portal.accounts.access import person_of
from portal.accounts.actors import actor_of, client_address, visitor
from portal.accounts.conf import microsoft
from portal.accounts.entra.discovery import Untrusted, discovery
from portal.accounts.entra.provider import ID, EntraAdapter, EntraProvider
from portal.accounts.sessions import HINTS, safe_next
from portal.accounts.views.adapters import failure

MOST_A_MINUTE = 60  # calls of the front-channel address from one client
PENDING_SECONDS = 900  # how long a browser is remembered that has only begun to sign in


@login_not_required
@require_GET
def sign_in(request: HttpRequest) -> HttpResponse:
    """Offer to sign in with Microsoft; whoever is signed in goes on."""
    target = safe_next(request.GET.get("next", ""))
    if request.user.is_authenticated:
        return HttpResponseRedirect(target)
    return render(request, "accounts/sign_in.html", {"next": target})


@login_not_required
@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """Send the browser to Microsoft."""
    provider: EntraProvider = get_adapter(request).get_provider(request, ID)
    if not request.user.is_authenticated:
        request.session.set_expiry(PENDING_SECONDS)
    # Another account: Microsoft asks for one even where somebody is signed in there.
    parameters = {"prompt": "select_account"} if "another" in request.POST else {}
    try:
        discovery().probe()
        response: HttpResponse = provider.begin(
            request, safe_next(request.POST.get("next", "")), parameters=parameters
        )
    except (requests.RequestException, Untrusted, OAuth2Error) as error:
        return failure(request, error, is_ours=False)
    return response


@login_not_required
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Take the browser back from Microsoft."""
    view = OAuth2CallbackView.adapter_view(EntraAdapter(request))
    try:
        response: HttpResponse = view(request)
    except ImmediateHttpResponse as answer:
        response = answer.response
    except (requests.RequestException, Untrusted, OAuth2Error) as error:
        return failure(request, error, is_ours=False)
    return response


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session here and at Microsoft."""
    hints = request.session.get(HINTS, {})
    services.note_sign_out(person=person_of(request), actor=actor_of(request))
    logout(request)
    response = HttpResponseRedirect(_end_session_address(hints))
    # Not "cookies": that would take those of every other application of the registered domain with it.
    response["Clear-Site-Data"] = '"cache", "storage"'
    return response


@login_not_required
@require_GET
def signed_out(request: HttpRequest) -> HttpResponse:
    """Say that the session has ended."""
    return render(request, "accounts/signed_out.html")


@login_not_required
@require_GET
def front_channel(request: HttpRequest) -> HttpResponse:
    """End the sessions that Microsoft says have ended (OpenID Connect Front-Channel Logout 1.0).

    The browser calls it in a frame, without our cookie. It answers alike whatever happens, and does nothing else.
    """
    sid, issuer = request.GET.get("sid", ""), request.GET.get("iss", "")
    is_ours = not issuer or issuer == f"{microsoft.authority}/{microsoft.tenant_id}/v2.0"
    if sid and len(sid) <= 200 and is_ours and not _is_too_often(request):
        services.end_sessions_at_microsoft(sid=sid, actor=visitor(request, display="Microsoft's sign-out"))
    return HttpResponse(headers={"Cache-Control": "no-store"})


def _is_too_often(request: HttpRequest) -> bool:
    """Count the calls of an address; without Valkey nothing is limited, and nothing is lost by it."""
    key = f"front-channel:{client_address(request)}"
    try:
        cache.add(key, 0, 60)
        return bool(cache.incr(key) > MOST_A_MINUTE)
    except (RedisError, ValueError):
        return False


def _end_session_address(hints: dict[str, Any]) -> str:
    """Return Microsoft's address for signing out, which leads back here."""
    back = str(settings.PORTAL_BASE_URL) + reverse("accounts:signed_out")
    query = urlencode({"post_logout_redirect_uri": back, "client_id": microsoft.client_id, **hints})
    return f"{microsoft.authority}/{microsoft.tenant_id}/oauth2/v2.0/logout?{query}"

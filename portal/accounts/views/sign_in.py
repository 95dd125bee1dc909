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
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from portal.accounts import services
from portal.accounts.access import person_of
from portal.accounts.actors import actor_of
from portal.accounts.conf import microsoft
from portal.accounts.entra.discovery import Untrusted
from portal.accounts.entra.provider import ID, EntraAdapter, EntraProvider
from portal.accounts.policy import APP_ROLES
from portal.accounts.views.adapters import HINTS, failure

PENDING_SECONDS = 900  # how long a browser is remembered that has only begun to sign in


@login_not_required
@require_GET
def sign_in(request: HttpRequest) -> HttpResponse:
    """Offer to sign in with Microsoft; whoever is signed in goes on."""
    target = _safe_next(request.GET.get("next", ""))
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
    try:
        response: HttpResponse = provider.begin(
            request, _safe_next(request.POST.get("next", "")), another="another" in request.POST
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
def no_access(request: HttpRequest) -> HttpResponse:
    """Say how access is granted."""
    return render(request, "accounts/no_access.html", {"app_roles": APP_ROLES}, status=403)


def _end_session_address(hints: dict[str, Any]) -> str:
    """Return Microsoft's address for signing out, which leads back here."""
    back = str(settings.PORTAL_BASE_URL) + reverse("accounts:signed_out")
    query = urlencode({"post_logout_redirect_uri": back, "client_id": microsoft.client_id, **hints})
    return f"{microsoft.authority}/{microsoft.tenant_id}/oauth2/v2.0/logout?{query}"


def _safe_next(target: str) -> str:
    """Return where to go after sign-in: a path of this portal, or the start page."""
    is_path = target.startswith("/") and url_has_allowed_host_and_scheme(target, allowed_hosts=None)
    return target if is_path and len(target) <= 2000 else str(settings.LOGIN_REDIRECT_URL)

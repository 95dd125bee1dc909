"""What the portal makes of allauth: no sign-up, no password, no e-mail address that identifies anybody."""

import re
import time
from typing import Any

import requests
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import Provider
from django.conf import settings
from django.contrib.auth import login as start_session
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from portal.accounts import middleware, recheck, services, step_up
from portal.accounts.actors import actor_of, visitor
from portal.accounts.conf import microsoft
from portal.accounts.entra.discovery import Untrusted
from portal.accounts.entra.id_token import Claims, holds_nonce, read
from portal.accounts.entra.provider import ID
from portal.accounts.outbound import OutboundSession
from portal.accounts.policy import APP_ROLES
from portal.accounts.sessions import CHECKED, HINTS, SID
from portal.accounts.views import confirmation
from portal.accounts.views.admission import Refused, admit

BACKEND = "portal.accounts.backends.IdentityBackend"
LONGEST_HINT = 2000  # characters of an id token that still fit into an address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Starts sessions for people whom `SocialAdapter` has let in."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody signs up."""
        return False

    def pre_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse | None:
        """Everything has been checked."""
        return None

    def login(self, request: HttpRequest, user: Any) -> None:
        """Start a session under a new key, and note the sign-in."""
        session = request.portal_session  # type: ignore[attr-defined]
        start_session(request, user, BACKEND)
        request.session.cycle_key()  # also where the same person signs in once more
        request.session.pop(step_up.GRANTS, None)
        request.session.set_expiry(None)
        middleware.start(request)
        request.session.update(session)
        services.note_sign_in(person=user, actor=actor_of(request))

    def post_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse:
        """Go where the person wanted to go."""
        return HttpResponseRedirect(kwargs["redirect_url"] or settings.LOGIN_REDIRECT_URL)


class SocialAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Decides about a verified token, and shows what went wrong."""

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[SocialApp]:
        """Return the one registration, from the settings; none is ever read from the database."""
        secret = "" if microsoft.certificate else microsoft.client_secret
        return [SocialApp(provider=ID, name="Microsoft", client_id=microsoft.client_id, secret=secret)]

    def get_requests_session(self) -> OutboundSession:
        """Return a session with a time limit and the right certificate authority."""
        return OutboundSession(ca_file=microsoft.ca_file)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Nobody signs up: `pre_social_login` has made the person or refused."""
        return False

    def authenticate_by_email(self, sociallogin: SocialLogin) -> None:
        """Find nobody by an e-mail address."""
        return

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: Any) -> Any:
        """Leave the empty user alone: `pre_social_login` puts the person in its place."""
        return sociallogin.user

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Let the person in, or end the sign-in with a page that says why not. There is no session yet."""
        raw, purpose = sociallogin.account.extra_data, sociallogin.state.get("purpose", "")
        if not holds_nonce(raw, sociallogin.state.get("nonce")):
            raise ImmediateHttpResponse(_failed(request, "The token was made for another sign-in.", 401))
        try:
            claims = read(raw)
            if purpose:
                confirmation.require_same(request, claims)
            sociallogin.user = admit(request, claims)
        except Untrusted as error:
            raise ImmediateHttpResponse(_failed(request, str(error), 401)) from error
        except confirmation.SomebodyElse as error:
            raise ImmediateHttpResponse(confirmation.somebody_else(request, purpose, claims)) from error
        except Refused as refusal:
            if purpose == recheck.PURPOSE and refusal.status == 503:
                raise ImmediateHttpResponse(recheck.put_off(request, sociallogin.state)) from refusal
            raise ImmediateHttpResponse(refuse(request, refusal)) from refusal
        if purpose:
            answer = confirmation.confirmed(request, purpose, sociallogin.state, raw)
            raise ImmediateHttpResponse(answer)
        request.portal_session = {  # type: ignore[attr-defined]
            HINTS: _hints(claims, sociallogin.id_token),
            SID: claims.sid,
            CHECKED: int(time.time()),
        }

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Provider,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Show what went wrong between the browser, Microsoft and the portal."""
        state = (extra_context or {}).get("state")
        if state and state.get("purpose") == recheck.PURPOSE:
            raise ImmediateHttpResponse(recheck.unconfirmed(request, state, exception))
        raise ImmediateHttpResponse(failure(request, exception, is_ours=bool(state)))


def failure(request: HttpRequest, exception: Exception | None, *, is_ours: bool) -> HttpResponse:
    """Return the page for a sign-in that failed; `is_ours`: this browser started it, so Microsoft's text is shown."""
    if isinstance(exception, requests.RequestException):
        return _page(
            request, "accounts/unavailable.html", "" if not is_ours else "Microsoft does not answer.", 503
        )
    if not is_ours:  # anybody may send this, so the log does not take it
        return _failed(request, "", 400)
    if exception is not None:
        return _failed(request, str(exception)[:300], 401)
    code, text = request.GET.get("error", ""), request.GET.get("error_description", "")
    if code == "access_denied" and "AADSTS" not in text:
        return _page(request, "accounts/cancelled.html", "The sign-in was cancelled.", 403)
    found = re.search(r"AADSTS\d+", text)
    correlation = re.search(r"Correlation ID:\s*([0-9a-fA-F-]{36})", text)
    context = {
        "microsoft": " ".join(text.split())[:600],
        "code": found[0] if found else code[:60],
        "correlation": correlation[1] if correlation else "",
    }
    return _page(request, "accounts/failed.html", f"Microsoft refused: {text or code}"[:500], 403, context)


def refuse(request: HttpRequest, refusal: Refused) -> HttpResponse:
    """Return the page for somebody who is known but may not come in; what the browser had is forgotten."""
    services.note_refusal(reason=refusal.reason, actor=refusal.actor)
    request.session.flush()
    context = {
        "email": refusal.email,
        "reference": getattr(request, "request_id", ""),
        "app_roles": APP_ROLES,
    }
    return render(request, refusal.template, context, status=refusal.status)


def _failed(request: HttpRequest, reason: str, status: int) -> HttpResponse:
    return _page(request, "accounts/failed.html", reason, status)


def _page(
    request: HttpRequest, template: str, reason: str, status: int, context: dict[str, Any] | None = None
) -> HttpResponse:
    if reason:
        services.note_refusal(reason=reason, actor=visitor(request))
    reference = getattr(request, "request_id", "")
    return render(request, template, {"reference": reference, **(context or {})}, status=status)


def _hints(claims: Claims, id_token: str) -> dict[str, str]:
    """Return what tells Microsoft, at sign-out, whose session to end: the hint made for it, else the token."""
    if claims.login_hint:
        return {"logout_hint": claims.login_hint}
    return {"id_token_hint": id_token} if len(id_token) <= LONGEST_HINT else {}

"""Nothing without a session, and no session beyond its limits."""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import resolve_url

from portal.accounts import step_up
from portal.accounts.access import can
from portal.accounts.actors import client_address
from portal.accounts.conf import idle_seconds
from portal.accounts.models import Person
from portal.accounts.policy import STEP_UP, Right
from portal.accounts.sessions import ADDRESS, BROWSER, SEEN, SIGNED_IN

GRAIN = 60  # seconds between two writes of SEEN


class SignInRequiredMiddleware(LoginRequiredMiddleware):
    """Ask for sign-in before every view that is not marked `login_not_required`.

    A session ends after SESSION_IDLE_SECONDS without a request and SESSION_COOKIE_AGE after sign-in.
    """

    def process_view(
        self,
        request: HttpRequest,
        view_func: Callable[..., HttpResponseBase],
        view_args: tuple[Any, ...],
        view_kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        """End a session that is over, then ask for sign-in where nobody is signed in, and Microsoft when it is time."""
        if request.user.is_authenticated and is_over(request):
            logout(request)
        answer = super().process_view(request, view_func, view_args, view_kwargs)
        if answer is None and request.user.is_authenticated and getattr(view_func, "login_required", True):
            from portal.accounts import recheck  # allauth wants the apps to be ready

            return recheck.begin(request) if recheck.is_due(request) else None
        return answer

    def handle_no_permission(
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]
    ) -> HttpResponseRedirect:
        """Send the browser to the sign-in page; it comes back to a page, never to where a form was sent."""
        if request.method in ("GET", "HEAD"):
            return super().handle_no_permission(request, view_func)
        return HttpResponseRedirect(resolve_url(settings.LOGIN_URL))


def start(request: HttpRequest) -> None:
    """Start the clocks of a session, and note where it began."""
    request.session[SIGNED_IN] = request.session[SEEN] = int(time.time())
    request.session[ADDRESS] = client_address(request)
    request.session[BROWSER] = request.headers.get("User-Agent", "")[:300]


def is_over(request: HttpRequest) -> bool:
    """Tell whether the session has passed a limit; note the request otherwise."""
    now = int(time.time())
    if SIGNED_IN not in request.session:
        start(request)
    signed_in, seen = request.session[SIGNED_IN], request.session[SEEN]
    if now - signed_in >= settings.SESSION_COOKIE_AGE or now - seen >= idle_seconds():
        return True
    if now - seen >= GRAIN:
        request.session[SEEN] = now
    return False


class StepUpMiddleware:
    """Ask Microsoft again who it is before the views of portal.accounts.policy.STEP_UP, while STEP_UP is on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request."""
        return self.get_response(request)

    def process_view(
        self,
        request: HttpRequest,
        view_func: Callable[..., HttpResponseBase],
        view_args: tuple[Any, ...],
        view_kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        """Lead to the page that asks, unless this session has confirmed itself for the class minutes ago."""
        match = request.resolver_match
        kind = STEP_UP.get(match.view_name) if match else None
        if kind is None or not settings.STEP_UP or not isinstance(request.user, Person):
            return None
        if not can(request.user, getattr(view_func, "required_right", Right.SEE_PROJECTS)):
            return None  # the gate refuses: somebody without the right is asked for nothing
        guarded = step_up.Guarded(kind)
        return None if step_up.is_fresh(request, guarded) else step_up.ask(request, guarded)

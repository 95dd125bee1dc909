"""Look at the portal as somebody else sees it: reading only, for minutes, and logged as the one who looks."""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase

from audit.actions import Action
from audit.actors import Target
from audit.services import record, record_refused, record_view
from portal.accounts.access import can
from portal.accounts.actors import actor_of, target_of
from portal.accounts.backends import IdentityBackend
from portal.accounts.models import Person
from portal.accounts.policy import STEP_UP, Right
from portal.lib.errors import RuleBroken

VIEWED = "viewed"  # in the session: whom, and until when
LASTS = 15 * 60
SAFE = ("GET", "HEAD", "OPTIONS")
_AS_ONESELF = frozenset({"accounts:stop_viewing", "accounts:signout", "web:preferences"})
_NEVER = frozenset({*STEP_UP, "accounts:confirm", "accounts:resume"})
"""What hands out records, changes something or proves who one is."""


@transaction.atomic(durable=True)
def start(request: HttpRequest, person: Person, *, reason: str) -> None:
    """Let the browser show what the person sees, for a quarter of an hour."""
    if not reason.strip():
        raise RuleBroken("Say what for.", field="reason")
    if request.user == person:
        raise RuleBroken("You see what you see already.")
    if IdentityBackend().get_user(person.pk) is None:
        raise RuleBroken(f"{person} has no access to the portal, so there is nothing to see.")
    request.session[VIEWED] = [person.pk, int(time.time()) + LASTS]
    record(Action.VIEWING_STARTED, actor=actor_of(request), target=target_of(person), comment=reason.strip())


@transaction.atomic(durable=True)
def stop(request: HttpRequest) -> int | None:
    """Show one's own pages again; return whose were shown."""
    found = request.session.pop(VIEWED, None)
    person = Person.objects.filter(pk=found[0]).first() if found else None
    if person is None:
        return None
    record(Action.VIEWING_ENDED, actor=actor_of(request), target=target_of(person))
    return person.pk


class ViewingMiddleware:
    """Show pages as somebody else sees them, where the session says so; what would change anything is refused.

    The session stays that of the one who looks: its limits, and their right to look, hold at every request.
    """

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
    ) -> None:
        """Put the other person in the place of the one who looks, or refuse what is more than looking."""
        viewer, name = request.user, request.resolver_match.view_name if request.resolver_match else ""
        needs_session = getattr(view_func, "login_required", True)
        if not needs_session or not isinstance(viewer, Person) or VIEWED not in request.session:
            return
        pk, until = request.session[VIEWED]
        person = IdentityBackend().get_user(pk)
        if person is None or time.time() >= until or not can(viewer, Right.MANAGE_ACCESS):
            stop(request)
            if request.method not in SAFE and name not in _AS_ONESELF:  # sent from a page that showed another
                raise PermissionDenied("Looking as somebody else has ended. Look at the page again.")
            return
        request.viewer = viewer  # type: ignore[attr-defined]
        if name in _AS_ONESELF:
            return
        request.user = person
        page = Target("page", f"{person.pk} {request.path}"[:200], request.path[:300])
        if request.method not in SAFE or name in _NEVER:
            reason = "only looks as somebody else"
            record_refused(Action.ACCESS_REFUSED, actor=actor_of(request), target=page, reason=reason)
            raise PermissionDenied(f"You look as {person} and change nothing. Stop looking first.")
        if "HX-Request" not in request.headers:
            record_view(Action.PAGE_VIEWED, actor=actor_of(request), target=page)


def viewer_of(request: HttpRequest) -> Person | None:
    """Return who looks as somebody else; None where everybody is themselves."""
    found: Person | None = getattr(request, "viewer", None)
    return found


def home() -> str:
    """Return where looking begins."""
    return str(settings.LOGIN_REDIRECT_URL)

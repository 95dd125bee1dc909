"""Some actions want to see the person again: a sign-in of a few minutes ago, or one that Entra ID itself guards.

    @require_http_methods(["GET", "POST"])
    @require(Right.MANAGE_ACCESS)
    @step_up(Guarded.ACCESS)
    def grant(request): …

A view under `step_up` answers only where the session holds a fresh grant for that class of actions. Otherwise the
browser is led to Microsoft and back; what a form had sent is kept meanwhile and sent again by the person's own click.
"""

import json
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from urllib.parse import urlencode, urlsplit

from django.contrib.sessions.backends.base import SessionBase
from django.db import models
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

from portal.accounts.conf import step_up_context
from portal.web.sealing import WAITING_FORM, Unreadable, seal, unseal

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]

LIFETIME = 600  # seconds that a grant lasts
FRESH = 300  # seconds that a sign-in may be old when it is to count
LEEWAY = 60
GRANTS = "step_up"  # session key: class of actions → until when, in seconds since the epoch
SENT = "step_up_sent"  # session key: the form that was sent without a grant
LONGEST = 65536  # characters of a form that are kept


class Guarded(models.TextChoices):
    """The classes of actions; a grant is for one of them. The label completes: Confirm that it is you to …"""

    CREDENTIALS = "credentials", "issue or replace a secret"
    APPROVALS = "approvals", "decide about a request"
    ACCESS = "access", "change who may do what"
    PRICES = "prices", "change the price book"
    CORRECTIONS = "corrections", "correct what was booked"
    EXPORT = "export", "export records"
    SETTINGS = "settings", "change a policy of the organization"


def step_up(kind: Guarded) -> Callable[[View[P]], View[P]]:
    """Let nobody into a view without a fresh grant for `kind`. Put it under the gate: strangers are not asked."""

    def decorator(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if is_fresh(request, kind):
                return view(request, *args, **kwargs)
            return ask(request, kind)

        guarded.guarded_as = kind  # type: ignore[attr-defined]  # read by the tests of all addresses
        return cast(View[P], guarded)

    return decorator


def is_fresh(request: HttpRequest, kind: Guarded) -> bool:
    """Tell whether the session holds a grant for `kind`."""
    until = request.session.get(GRANTS, {}).get(kind.value, 0)
    return isinstance(until, int) and time.time() < until <= time.time() + LIFETIME


def ask(request: HttpRequest, kind: Guarded) -> HttpResponseBase:
    """Lead to the page that asks for a sign-in; a form that was sent is kept for afterwards."""
    target = request.get_full_path()
    if request.method not in ("GET", "HEAD"):
        _keep(request)
        target = _page_of(request)
    query = urlencode({"kind": kind.value, "next": target})
    return HttpResponseRedirect(f"{reverse('accounts:confirm')}?{query}")


def give(session: SessionBase, kind: Guarded) -> None:
    """Note a grant for `kind` in the session."""
    session[GRANTS] = {**session.get(GRANTS, {}), kind.value: int(time.time()) + LIFETIME}


def parameters(kind: Guarded) -> dict[str, str]:
    """Return what Microsoft is asked for: a young sign-in, and the authentication context mapped to `kind`."""
    context = step_up_context(kind.value)
    asked: dict[str, Any] = {"auth_time": {"essential": True}}
    if context:
        asked["acrs"] = {"essential": True, "value": context}
    return {"max_age": str(FRESH), "claims": json.dumps({"id_token": asked}, separators=(",", ":"))}


def is_proof(claims: dict[str, Any], kind: Guarded) -> bool:
    """Tell whether verified claims prove presence: the mapped authentication context, or a sign-in minutes ago."""
    context, found = step_up_context(kind.value), claims.get("acrs")
    if (
        context
        and isinstance(found, str | list)
        and context in ([found] if isinstance(found, str) else found)
    ):
        return True
    moment = claims.get("auth_time")
    if isinstance(moment, bool) or not isinstance(moment, int):
        return False
    return -LEEWAY <= time.time() - moment <= FRESH


def take_sent(session: SessionBase) -> dict[str, Any] | None:
    """Return the form that waits, once: ``path`` and ``fields``; None where there is none or it is too old."""
    try:
        found = json.loads(unseal(session.pop(SENT, "").encode(), WAITING_FORM) or "{}")
    except Unreadable:
        return None
    return found if time.time() - found.get("at", 0) < LIFETIME else None


def _keep(request: HttpRequest) -> None:
    """Keep what a form has sent; files are not kept, and nothing that is too long.

    It is sealed, for the session lies in the database and a form may hold a secret, such as the address of a chat.
    """
    request.session.pop(SENT, None)
    fields = [
        [name, value]
        for name, values in request.POST.lists()
        if name != "csrfmiddlewaretoken"
        for value in values
    ]
    if request.FILES or sum(len(name) + len(str(value)) for name, value in fields) > LONGEST:
        return
    sent = {"path": request.get_full_path(), "fields": fields, "at": int(time.time())}
    request.session[SENT] = seal(json.dumps(sent), WAITING_FORM).decode()


def _page_of(request: HttpRequest) -> str:
    """Return the page a form was sent from, as a path of this portal."""
    parts = urlsplit(request.headers.get("HX-Current-URL") or request.headers.get("Referer", ""))
    is_here = parts.netloc == request.get_host() and parts.path.startswith("/")
    return (parts.path + (f"?{parts.query}" if parts.query else "")) if is_here else "/"

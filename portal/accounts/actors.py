"""The actor of a request, as the audit log wants it."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

from audit.actors import Actor, Target
from portal.accounts.models import Person
from portal.accounts.sessions import mark_of


def actor_of(request: HttpRequest) -> Actor:
    """Return who makes the request; a visitor when nobody is signed in.

    Who looks as somebody else stays who acts; the name says as whom.
    """
    person, shown = getattr(request, "viewer", None) or request.user, request.user
    if not isinstance(person, Person):
        return visitor(request)
    label = person_label(person)
    if person != shown:
        label = f"{person.name} as {shown} <{person.email}>"
    return Actor(
        "user",
        str(person.pk),
        label,
        tid=str(person.tid or ""),
        oid=str(person.oid or ""),
        auth="entra",
        session=session_mark(request),
        ip=client_address(request),
        user_agent=request.headers.get("User-Agent", "")[:512],
        request_id=getattr(request, "request_id", ""),
    )


def visitor(request: HttpRequest, *, display: str = "Somebody", tid: str = "", oid: str = "") -> Actor:
    """Return somebody without a session; the identity is given where a token proved it."""
    return Actor(
        "user",
        "",
        display,
        tid=tid,
        oid=oid,
        auth="entra" if oid else "",
        ip=client_address(request),
        user_agent=request.headers.get("User-Agent", "")[:512],
        request_id=getattr(request, "request_id", ""),
    )


def target_of(person: Person) -> Target:
    """Return the person as the object of an audit entry."""
    return Target("person", str(person.pk), person_label(person))


def person_label(person: Person) -> str:
    """Return how the log names a person."""
    return f"{person.name} <{person.email}>" if person.email and person.email != person.name else str(person)


def session_mark(request: HttpRequest) -> str:
    """Return a mark that tells sessions apart without being one."""
    key = request.session.session_key
    return mark_of(key) if key else ""


def client_address(request: HttpRequest) -> str | None:
    """Return the client's address: X-Forwarded-For counts only as far as our own proxies wrote it."""
    hops: int = settings.PORTAL_TRUSTED_PROXIES
    found = request.META.get("REMOTE_ADDR", "")
    if hops:
        forwarded = [
            part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()
        ]
        found = forwarded[-hops] if len(forwarded) >= hops else ""
    try:
        return str(ipaddress.ip_address(found))
    except ValueError:
        return None

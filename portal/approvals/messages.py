"""What people are told of a request."""

from collections.abc import Iterable

from django.urls import reverse

from portal.accounts.models import Person
from portal.approvals.models import Request
from portal.notifications.models import Kind
from portal.notifications.services import notify


def link_to(request: Request) -> str:
    """Return the address of the request's page."""
    return reverse("approvals:detail", args=[request.pk])


def ask(request: Request, deciders: Iterable[Person]) -> None:
    """Tell those who decide that the request waits for them."""
    _send(
        request,
        "asked",
        f"{request.requester} asks: {request.label}",
        f"{request.reason}\n\nIt waits for one decision and expires in seven days.",
        deciders,
    )


def tell(request: Request) -> None:
    """Tell who asked, and who gains by it, how it ended."""
    people = [each for each in (request.requester, request.beneficiary) if each is not None]
    told = [each for each in people if each.pk != request.decided_by_id]
    ending = request.get_state_display().lower()
    by = f" by {request.decided_by}" if request.decided_by else ""
    _send(request, request.state, f"{request.label}: {ending}{by}"[:200], request.decision or ending, told)


def _send(request: Request, event: str, title: str, text: str, people: Iterable[Person]) -> None:
    notify(
        Kind.REQUEST,
        title=title[:200],
        text=text,
        link=link_to(request),
        people=people,
        once=f"request {request.pk} {event}",
        project=request.project_id,
        group=request.about_group,
    )

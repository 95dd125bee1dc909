"""What can be asked for: each kind knows the version of its thing, how it is done and how it reads.

A kind is named by its dotted path, as a foreign key upward is: the engine knows no app above it.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from django.utils.module_loading import import_string

from audit.actors import Actor
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.approvals.models import Request

RIGHTS: Mapping[str, Right] = {
    Request.Kind.LIMIT: Right.APPROVE_RAISES,
    Request.Kind.ROLE: Right.MANAGE_ACCESS,
    Request.Kind.PRICE: Right.MANAGE_PRICES,
}
"""Kind → the right, toward the request's project or over everything, that decides it."""

_KINDS: Mapping[str, str] = {
    Request.Kind.LIMIT: "portal.limits.requests.KIND",
    Request.Kind.ROLE: "portal.approvals.roles.KIND",
    Request.Kind.PRICE: "portal.approvals.prices.KIND",
}


class Kind(Protocol):
    """How one kind of request is done."""

    def version(self, request: Request) -> str:
        """Lock what the request would change and return its version; empty when there is no such row."""

    def execute(self, request: Request, *, decider: Person, actor: Actor, reason: str) -> None:
        """Make the change; raise RuleBroken where the rules of the thing itself refuse it."""

    def target(self, request: Request) -> tuple[str, str]:
        """Return where the thing is looked at: a label and an address of the portal."""

    def in_words(self, request: Request, value: Any, currency: str) -> str:
        """Return one side of a change as people read it."""


def kind_of(request: Request) -> Kind:
    """Return how the request is done."""
    found: Kind = import_string(_KINDS[request.kind])
    return found

"""Roles that need a second person: administrator and auditor, where the organization wants it so."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.urls import reverse

from audit.actors import Actor
from portal.accounts.models import Person, RoleGrant
from portal.accounts.policy import Role
from portal.accounts.selectors import roles_granted
from portal.accounts.services import give_role, refuse_toxic
from portal.approvals.models import Request
from portal.approvals.selectors import policy
from portal.approvals.services import open_request
from portal.lib.errors import RuleBroken

NEEDS_SECOND = frozenset({Role.ADMIN, Role.AUDITOR})


@transaction.atomic(durable=True)
def grant_or_ask(
    *,
    person: Person,
    role: str,
    group: int | None,
    expires: datetime | None,
    requester: Person,
    actor: Actor,
    reason: str,
) -> RoleGrant | Request:
    """Give the role, or put it before a second person; with nobody else to decide, it is given and the log says so."""
    if not (policy().roles and role in NEEDS_SECOND):
        return give_role(person=person, role=role, group=group, expires=expires, actor=actor, reason=reason)
    person = Person.objects.select_for_update().get(pk=person.pk)
    refuse_toxic(person, role)
    before = roles_granted(person)
    if role in before:
        raise RuleBroken(f"{person} has this role already.", field="role")
    request = Request(
        kind=Request.Kind.ROLE,
        thing=f"{person.pk}|{role}",
        label=f"{person}, {Role(role).label.lower()}"[:300],
        requester=requester,
        beneficiary=person,
        payload={"person": person.pk, "role": role, "expires": expires.isoformat() if expires else None},
        reason=reason,
    )
    changes = {"roles": [before, sorted([*before, role])]}
    if expires:
        changes["expires"] = [None, expires.isoformat()]  # type: ignore[list-item]
    return open_request(request, changes=changes, actor=actor, may_be_alone=True)


@dataclass(frozen=True, slots=True)
class RoleOfAPerson:
    """How a role is given: see portal.approvals.kinds.Kind."""

    def version(self, request: Request) -> str:
        """Lock the person and return the roles that they have."""
        person = Person.objects.select_for_update().get(pk=request.payload["person"])
        return ",".join(roles_granted(person))[:80]

    def execute(self, request: Request, *, decider: Person, actor: Actor, reason: str) -> None:
        """Give the role."""
        wanted = request.payload
        expires = datetime.fromisoformat(wanted["expires"]) if wanted["expires"] else None
        person = Person.objects.get(pk=wanted["person"])
        give_role(person=person, role=wanted["role"], group=None, expires=expires, actor=actor, reason=reason)

    def target(self, request: Request) -> tuple[str, str]:
        """Return the list of people."""
        return "People", reverse("accounts:people")

    def in_words(self, request: Request, value: Any, currency: str) -> str:
        """Return roles, or the day on which the role ends."""
        if isinstance(value, list):
            return ", ".join(_role(each) for each in value) or "no role"
        return f"{datetime.fromisoformat(value):%-d %b %Y}" if value else ""


KIND = RoleOfAPerson()


def _role(text: str) -> str:
    role, _, group = text.partition(":")
    return f"{Role(role).label} of {group}" if group else str(Role(role).label)

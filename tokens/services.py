"""Issue, change, suspend and revoke user tokens."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.models import AuditEntry
from audit.services import record
from portal.accounts.models import Person
from portal.credentials import digests
from portal.credentials.validity import beginning, life_of
from portal.decision import subjects
from portal.decision.services import set_limit
from portal.lib.errors import RuleBroken, refuse_if_changed
from portal.lib.names import checked_name
from portal.lib.networks import checked_networks
from portal.spend import scopes
from projects.models import Project
from projects.services import group_of, may_hold_tokens
from tokens.models import UserToken

Cause = UserToken.Cause
USUAL_NAME = "User token"
_IMPORT_LOCK = 7347


def target_of(token: UserToken) -> Target:
    """Return the token as the audit log names it: never its secret."""
    return Target("user_token", token.key_id, f"{token.name} of {token.person} ({token.hint})")


def label_of(token: UserToken) -> str:
    """Return how a refusal names the token."""
    return f"User token {token.name}"


@dataclass(frozen=True, slots=True)
class Order:
    """A token that is to be issued: to whom, in which project, and what it may do."""

    project: Project
    person: Person
    name: str = ""
    days: int | None = None
    allowed_models: list[str] | None = None
    networks: list[str] | None = None
    daily_limit: Decimal | None = None
    monthly_limit: Decimal | None = None
    not_before: datetime | None = None


def refuse_unless_may_hold(project: Project, person: Person) -> None:
    """Raise RuleBroken where the person can be given no token of the project."""
    if project.state == Project.State.ARCHIVED:
        raise RuleBroken(f"{project.name} is archived. Restore it before issuing tokens.")
    if not person.is_active:
        raise RuleBroken(f"{person} is disabled and can hold no token.", field="person")
    if not may_hold_tokens(project, person):
        raise RuleBroken(f"{person} is not a member of {project.name}. Add them first.", field="person")


@transaction.atomic(durable=True)
def issue_token(*, actor: Actor, reason: str = "", **wanted: Any) -> tuple[UserToken, str]:
    """Issue a token (see `Order`) to a member of the project; return it with its secret, which is kept nowhere."""
    order = Order(**wanted)
    project = Project.objects.select_for_update().get(pk=order.project.pk)
    return _issue(replace(order, project=project), actor, reason)


@transaction.atomic(durable=True)
def issue_tokens(
    *, orders: Sequence[Order], once: uuid.UUID, actor: Actor, reason: str = ""
) -> list[tuple[UserToken, str]]:
    """Issue all of them or none, in their order; refused when it was done before under the name ``once``."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_IMPORT_LOCK, str(once)])
    target = Target("token_import", str(once), f"{len(orders)} user token{'' if len(orders) == 1 else 's'}")
    if AuditEntry.objects.filter(target_type=target.type, target_id=target.id).exists():
        raise RuleBroken(
            "These tokens are issued already, and their secrets were shown. Nothing was issued again."
        )
    keys = {order.project.pk for order in orders}
    projects = {
        each.pk: each for each in Project.objects.select_for_update().filter(pk__in=keys).order_by("pk")
    }
    found = [_issue(replace(order, project=projects[order.project.pk]), actor, reason) for order in orders]
    record(
        Action.TOKENS_IMPORTED,
        actor=actor,
        target=target,
        project=min(projects) if len(projects) == 1 else None,
        changes={"projects": (None, sorted(each.code for each in projects.values()))},
    )
    return found


def _issue(order: Order, actor: Actor, reason: str) -> tuple[UserToken, str]:
    """Issue one token in the current transaction, which has locked the project."""
    project, person = order.project, order.person
    refuse_unless_may_hold(project, person)
    not_before = beginning(order.not_before)
    issued = digests.issue("user_token")
    token = UserToken.objects.create(
        key_id=issued.key_id,
        pepper_id=issued.pepper_id,
        digest=issued.digest,
        hint=issued.hint,
        created_by=actor.display,
        not_before=not_before,
        expires=(not_before or timezone.now()) + life_of(order.days),
        project=project,
        person=person,
        name=checked_name(order.name or USUAL_NAME),
        group=group_of(project, person),
        allowed_models=order.allowed_models or None,
        networks=checked_networks(order.networks),
    )
    publish(token)
    given = {"not_before": not_before, "models": token.allowed_models, "addresses": token.networks}
    record(
        Action.TOKEN_ISSUED,
        actor=actor,
        target=target_of(token),
        project=project.pk,
        group=project.group_id,
        changes={"person": (None, str(person)), "expires": (None, token.expires)}
        | {what: (None, value) for what, value in given.items() if value},
        comment=reason,
    )
    for window, amount in (("day", order.daily_limit), ("month", order.monthly_limit)):
        if amount is not None:
            set_limit(
                scope_key=scopes.credential(token.key_id),
                label=label_of(token),
                metric="spend",
                window=window,
                amount=amount,
                target=target_of(token),
                project=project.pk,
                group=project.group_id,
                actor=actor,
            )
    return token, issued.secret


@transaction.atomic(durable=True)
def update_token(
    *,
    token: UserToken,
    name: str,
    allowed_models: list[str] | None,
    networks: list[str] | None,
    seen: dict[str, Any] | None = None,
    actor: Actor,
    reason: str = "",
) -> UserToken:
    """Change what a token may do; refused when it is no longer as ``seen`` (None: whatever it is)."""
    token = _locked(token)
    if token.revoked:
        raise RuleBroken("This token is revoked; nothing about it can be changed.")
    after = {
        "name": checked_name(name),
        "allowed_models": allowed_models or None,
        "networks": checked_networks(networks),
    }
    before = {field: getattr(token, field) for field in after}
    refuse_if_changed(seen, before)
    changes = {field: (before[field], value) for field, value in after.items() if before[field] != value}
    if not changes:
        return token
    for field, value in after.items():
        setattr(token, field, value)
    token.save(update_fields=list(after))
    publish(token)
    if "name" in changes:
        subjects.relabel(scopes.credential(token.key_id), label_of(token))
    _record(Action.TOKEN_CHANGED, token, changes, actor, reason)
    return token


def revoke_token(*, token: UserToken, actor: Actor, reason: str = "") -> UserToken:
    """Revoke the token for good; the very next call with it is refused."""
    with subjects.denying(), transaction.atomic(durable=True):
        token = _locked(token)
        if token.revoked:
            return token
        token.revoked = timezone.now()
        token.save(update_fields=["revoked"])
        publish(token)
        _record(Action.TOKEN_REVOKED, token, {"revoked": (None, token.revoked)}, actor, reason)
    return token


def revoke_tokens(*, tokens: Iterable[UserToken], actor: Actor, reason: str = "") -> list[UserToken]:
    """Revoke several, each for itself; return those that were not revoked before."""
    return [
        revoke_token(token=token, actor=actor, reason=reason) for token in tokens if token.revoked is None
    ]


def suspend_token(*, token: UserToken, reason: str, cause: str = Cause.BY_HAND, actor: Actor) -> UserToken:
    """Switch the token off for the time being; the very next call with it is refused."""
    with subjects.denying(), transaction.atomic():
        return _suspend(_locked(token), reason, cause, actor)


def resume_token(*, token: UserToken, actor: Actor, reason: str = "") -> UserToken:
    """End a suspension, whatever caused it. One whose person is disabled stays suspended."""
    with transaction.atomic():
        token = _locked(token)
        if not token.person.is_active:
            raise RuleBroken(f"{token.person} is disabled. Their tokens stay suspended.")
        return _resume(token, actor, reason)


def suspend_tokens_of(person: Person, *, reason: str, actor: Actor) -> int:
    """Suspend every token of a person who was disabled or left; return how many that were active before."""
    with subjects.denying(), transaction.atomic():
        held = UserToken.objects.current().filter(person=person, suspended__isnull=True)
        found = list(_locking().filter(pk__in=held.values("pk")).order_by("pk"))
        for token in found:
            _suspend(token, reason, Cause.PERSON, actor)
    return len(found)


def resume_tokens_of(person: Person, *, reason: str = "", actor: Actor) -> int:
    """Resume what `suspend_tokens_of` has suspended, nothing that was suspended otherwise; return how many."""
    with transaction.atomic():
        held = UserToken.objects.filter(person=person, revoked__isnull=True, cause=Cause.PERSON)
        found = list(_locking().filter(pk__in=held.values("pk")).order_by("pk"))
        for token in found:
            _resume(token, actor, reason)
    return len(found)


def publish(token: UserToken) -> None:
    """Write what the decision must know of the token, in the current transaction."""
    subjects.put_credential(
        key_id=token.key_id,
        kind="user_token",
        pepper_id=token.pepper_id,
        digest=bytes(token.digest),
        state=token.state,
        not_before=token.not_before,
        expires=token.expires,
        project=token.project_id,
        person=token.person_id,
        draws_on=token.group_id,
        is_member=may_hold_tokens(token.project, token.person),
        models=token.allowed_models,
        networks=token.networks,
        user=token.person.email or token.person.name,
    )


def _locking() -> QuerySet[UserToken]:
    locking: QuerySet[UserToken] = UserToken.objects.select_for_update(of=("self",))
    return locking.select_related("project", "person")


def _locked(token: UserToken) -> UserToken:
    return _locking().get(pk=token.pk)


def _suspend(token: UserToken, reason: str, cause: str, actor: Actor) -> UserToken:
    if token.revoked:
        raise RuleBroken("This token is revoked, which is final.")
    if token.suspended and token.cause != Cause.UNUSED:
        return token
    token.suspended, token.suspended_for, token.cause = timezone.now(), reason[:300], cause
    token.save(update_fields=["suspended", "suspended_for", "cause", "resumed"])
    publish(token)
    _record(Action.TOKEN_SUSPENDED, token, {"suspended": (None, token.suspended)}, actor, reason)
    return token


def _resume(token: UserToken, actor: Actor, reason: str) -> UserToken:
    if token.revoked:
        raise RuleBroken("This token is revoked, which is final.")
    if token.suspended is None:
        return token
    before = token.suspended
    token.suspended, token.suspended_for, token.cause = None, "", Cause.NONE
    token.resumed = timezone.now()
    token.save(update_fields=["suspended", "suspended_for", "cause", "resumed"])
    publish(token)
    _record(Action.TOKEN_RESUMED, token, {"suspended": (before, None)}, actor, reason)
    return token


def _record(
    action: Action, token: UserToken, changes: dict[str, tuple[Any, Any]], actor: Actor, reason: str
) -> None:
    record(
        action,
        actor=actor,
        target=target_of(token),
        project=token.project_id,
        group=token.project.group_id,
        changes=changes,
        comment=reason,
    )

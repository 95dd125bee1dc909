"""Ask for a change, and decide what was asked: the one engine behind everything that needs a second person."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.accounts.access import can, may_toward, people_who_may
from portal.accounts.models import Person
from portal.approvals import messages
from portal.approvals.access import waiting_on
from portal.approvals.kinds import RIGHTS, kind_of
from portal.approvals.models import ApprovalPolicy, Request
from portal.lib.errors import RuleBroken

WAITS = timedelta(days=7)
NOBODY_ELSE = "Nobody else could have approved it."
State = Request.State


def target_of(request: Request) -> Target:
    """Return the request as the audit log names it."""
    return Target("request", str(request.pk), f"{request.get_kind_display()}: {request.label}")


def deciders_of(request: Request) -> QuerySet[Person]:
    """Return who can decide the request: everybody with the right, but who asked and who gains by it."""
    group = request.project.group_id if request.project else None
    people = people_who_may(RIGHTS[request.kind], group=group)
    return people.exclude(pk__in=[pk for pk in (request.requester_id, request.beneficiary_id) if pk])


def open_request(
    request: Request, *, changes: dict[str, list[Any]], actor: Actor, may_be_alone: bool = False
) -> Request:
    """Put a new request before those who decide it; the caller's transaction holds the lock on its thing.

    With `may_be_alone` it executes at once when nobody else could approve it; the log says so.
    """
    request.reason = request.reason.strip()
    if not request.reason:
        raise RuleBroken("Say why, so that who decides knows.", field="reason")
    waiting = Request.objects.filter(kind=request.kind, thing=request.thing, state=State.WAITING).first()
    if waiting is not None:
        raise RuleBroken(f"{waiting.requester} has asked for this already; it waits for a decision.")
    request.changes = changes
    request.version = kind_of(request).version(request)
    request.expires = timezone.now() + WAITS
    request.save()
    _record(Action.REQUEST_MADE, request, actor, request.reason)
    deciders = deciders_of(request)
    if not deciders.exists() and may_be_alone:
        request.is_alone = True
        _execute(request, decider=request.requester, actor=actor, reason=f"{request.reason} {NOBODY_ELSE}")
    else:
        messages.ask(request, deciders)
    return request


def approve(*, request: Request, decider: Person, actor: Actor, reason: str = "") -> Request:
    """Execute the request, unless what it would change has changed since it was asked for."""
    decided = _approve(request, decider, actor, reason)
    if decided.state == State.EXPIRED:
        raise RuleBroken("The request has expired. Ask again.")
    if decided.state == State.OVERTAKEN:
        raise RuleBroken("It was changed since this was asked for, so nothing was done. Ask again.")
    return decided


@transaction.atomic(durable=True)
def _approve(request: Request, decider: Person, actor: Actor, reason: str) -> Request:
    request = _waiting(request, decider)
    if request.expires <= timezone.now():
        return _end(request, State.EXPIRED, actor=actor)
    if kind_of(request).version(request) != request.version:
        return _end(request, State.OVERTAKEN, actor=actor)
    _execute(request, decider=decider, actor=actor, reason=reason)
    messages.tell(request)
    return request


@transaction.atomic(durable=True)
def decline(*, request: Request, decider: Person, actor: Actor, reason: str) -> Request:
    """Decline the request; the reason is told to who asked."""
    request = _waiting(request, decider)
    if not reason.strip():
        raise RuleBroken("Say why, so that who asked knows.", field="reason")
    return _end(request, State.DECLINED, actor=actor, decider=decider, reason=reason)


@transaction.atomic(durable=True)
def withdraw(*, request: Request, person: Person, actor: Actor, reason: str) -> Request:
    """Take one's own request back."""
    request = _locked(request)
    if request.requester_id != person.pk:
        raise RuleBroken("Only who asked can withdraw it.")
    if not reason.strip():
        raise RuleBroken("Say why it is no longer needed.", field="reason")
    return _end(request, State.WITHDRAWN, actor=actor, decider=person, reason=reason)


@transaction.atomic(durable=True)
def expire_one(*, actor: Actor) -> bool:
    """End one request that waited too long; return whether there was one. Safe to run anywhere, any number of times."""
    late = Request.objects.filter(state=State.WAITING, expires__lte=timezone.now())
    request = late.select_for_update(skip_locked=True).order_by("expires").first()
    if request is None:
        return False
    _end(request, State.EXPIRED, actor=actor)
    return True


@transaction.atomic(durable=True)
def set_policy(*, seen: int, actor: Actor, reason: str = "", **fields: Any) -> ApprovalPolicy:
    """Change what needs a second person; `seen` is the version of the row the person saw."""
    ApprovalPolicy.objects.get_or_create(pk=1)
    policy = ApprovalPolicy.objects.select_for_update().get(pk=1)
    if policy.version != seen:
        raise RuleBroken("Somebody else changed this while you had it open. Look at both, then save again.")
    changes = {
        name: (getattr(policy, name), value)
        for name, value in fields.items()
        if getattr(policy, name) != value
    }
    if changes:
        for name, (_, after) in changes.items():
            setattr(policy, name, after)
        policy.version += 1
        policy.save()
        target = Target("approval_policy", "1", "what needs a second person")
        record(
            Action.APPROVAL_POLICY_CHANGED,
            actor=actor,
            target=target,
            changes=changes,
            comment=reason.strip(),
        )
    return policy


def _locked(request: Request) -> Request:
    found = Request.objects.select_for_update(of=("self",)).select_related("project", "requester")
    request = found.get(pk=request.pk)
    if request.state != State.WAITING:
        raise RuleBroken(f"It is decided already: {request.get_state_display().lower()}.")
    return request


def _waiting(request: Request, decider: Person) -> Request:
    """Return the request, locked, if it waits and the person may decide it by the roles they have now."""
    request = _locked(request)
    fresh = Person.objects.prefetch_related("role_grants").get(pk=decider.pk)
    if not waiting_on(fresh).filter(pk=request.pk).exists():
        if fresh.pk in (request.requester_id, request.beneficiary_id):
            raise RuleBroken("Somebody else decides it: you asked for it, or gain by it.")
        raise RuleBroken("You may not decide this request any more.")
    return request


def _execute(request: Request, *, decider: Person, actor: Actor, reason: str) -> None:
    kind = kind_of(request)
    kind.execute(request, decider=decider, actor=actor, reason=f"{request.reason} (request {request.pk})")
    request.made = kind.version(request)
    _close(request, State.APPROVED, decider, reason)
    _record(Action.REQUEST_APPROVED, request, actor, reason)


def _end(
    request: Request, state: State, *, actor: Actor, decider: Person | None = None, reason: str = ""
) -> Request:
    actions = {
        State.DECLINED: Action.REQUEST_DECLINED,
        State.WITHDRAWN: Action.REQUEST_WITHDRAWN,
        State.EXPIRED: Action.REQUEST_EXPIRED,
        State.OVERTAKEN: Action.REQUEST_OVERTAKEN,
    }
    _close(request, state, decider, reason)
    _record(actions[state], request, actor, reason)
    messages.tell(request)
    return request


def _close(request: Request, state: State, decider: Person | None, reason: str) -> None:
    moment: datetime = timezone.now()
    request.state, request.decided, request.decided_by = state, moment, decider
    request.decision = reason.strip()[:500]
    request.save()


def _record(action: Action, request: Request, actor: Actor, comment: str) -> None:
    record(
        action,
        actor=actor,
        target=target_of(request),
        project=request.project_id,
        group=request.about_group,
        changes={field: tuple(pair) for field, pair in request.changes.items()},
        comment=comment.strip(),
    )


def may_decide_kind(person: Person, kind: str, group: int | None) -> bool:
    """Tell whether the person decides requests of the kind about a project of the group (its id), or about none."""
    right = RIGHTS[kind]
    return can(person, right, everywhere=True) or may_toward(person, right, group=group)

"""Raises of a project's limits: owners ask, somebody of its group or an administrator decides, an end gives it back."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor
from audit.services import record
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.approvals.models import Request
from portal.approvals.selectors import policy
from portal.approvals.services import open_request
from portal.decision.limits import each_user_label
from portal.decision.raising import Held
from portal.decision.services import lock_limits, set_limit, shown_amount, stored_amount
from portal.lib.errors import RuleBroken
from portal.lib.money import format_money, to_nano
from portal.organization.selectors import end_of_day
from portal.spend import scopes
from portal.spend.models import Limit
from portal.spend.scopes import Scope
from projects.access import rights_in
from projects.models import Project
from projects.services import label_of, target_of

METRICS = {
    "spend": "spend",
    "requests": "requests",
    "tokens": "model tokens",
    "concurrency": "calls in flight",
}


def most_raise(person: Person, project: Project) -> int | None:
    """Return by how many percent the person may raise the project's limits: 0 for who only lowers, None for any."""
    return policy().most_raise if rights_in(person, project)[Right.SET_LIMITS] else 0


def limits_to_raise(project: Project) -> QuerySet[Limit]:
    """Return the project's limits that hold calls to something: its own, those of its users and of groups in it."""
    mine = Q(scope_key=scopes.project(project.pk))
    mine |= Q(scope_key__startswith=f"pu:{project.pk}:") | Q(scope_key__startswith=f"pg:{project.pk}:")
    return Limit.objects.filter(mine, mode=Limit.Mode.ENFORCE).order_by(
        "scope_key", "metric", "window", "model"
    )


def name_of(limit: Limit) -> str:
    """Return a limit as people tell it from the project's others."""
    name = METRICS[limit.metric] + ("" if limit.window == "none" else f" a {limit.window}")
    name = f"{name} of {limit.model}" if limit.model else name
    scope = Scope(limit.scope_key)
    if scope.is_each:
        return f"{name}, each user"
    if scope.code == "project_user":
        person = Person.objects.filter(pk=int(limit.scope_key.rsplit(":", 1)[1])).first()
        return f"{name}, {person or 'a user'}"
    return f"{name}, a group" if scope.code == "project_group" else name


def in_words(metric: str, value: str | None, currency: str) -> str:
    """Return an exact amount as people read it."""
    if value is None:
        return "no limit"
    return format_money(to_nano(value), currency) if metric == "spend" else f"{int(value):,}"


@transaction.atomic(durable=True)
def ask_for_raise(
    *,
    limit: Limit,
    project: Project,
    amount: int | None,
    requester: Person,
    actor: Actor,
    reason: str,
    until: date | None = None,
) -> Request:
    """Ask that a limit of the project become `amount` (stored units, None = none), until a day's end or for good."""
    lock_limits(limit.scope_key)
    found = limits_to_raise(project).select_for_update().filter(pk=limit.pk).first()
    if found is None or found.changed != limit.changed:
        raise RuleBroken("The limit was changed while you had this open. Look at it again, then ask.")
    if amount is not None:
        stored_amount(found.metric, shown_amount(found.metric, amount))
    if not Held.of(found).is_raised_by(Held(amount)):
        raise RuleBroken("That is no raise. Enter more than it is now, or set it yourself.", field="amount")
    before = shown_amount(found.metric, found.amount)
    after = None if amount is None else shown_amount(found.metric, amount)
    scope = Scope(found.scope_key)
    person = (
        int(found.scope_key.rsplit(":", 1)[1]) if scope.code == "project_user" and not scope.is_each else None
    )
    request = Request(
        kind=Request.Kind.LIMIT,
        thing=f"{found.scope_key}|{found.metric}|{found.window}|{found.model}"[:300],
        label=f"{project.name}, {name_of(found)}"[:300],
        project=project,
        requester=requester,
        beneficiary_id=person,
        payload={
            "scope_key": found.scope_key,
            "metric": found.metric,
            "window": found.window,
            "model": found.model,
            "before": before,
            "after": after,
        },
        reason=reason,
        ends=_end_of(until),
    )
    field = f"{found.metric} per {found.window}" + (f" of {found.model}" if found.model else "")
    may_set = rights_in(requester, project)[Right.SET_LIMITS]
    return open_request(request, changes={field: [before, after]}, actor=actor, may_be_alone=may_set)


def _end_of(until: date | None) -> datetime | None:
    ends = end_of_day(until)
    if ends is not None and ends <= timezone.now():
        raise RuleBroken("Choose today or a later day.", field="until")
    return ends


@dataclass(frozen=True, slots=True)
class RaiseOfALimit:
    """How a raise is done: see portal.approvals.kinds.Kind."""

    def version(self, request: Request) -> str:
        """Lock the limit and return which row it is and when it was changed."""
        row = self._row(request)
        return f"{row.pk}:{row.changed.isoformat()}" if row else ""

    def _row(self, request: Request) -> Limit | None:
        wanted = request.payload
        lock_limits(wanted["scope_key"])
        names = ("scope_key", "metric", "window", "model")
        rows = Limit.objects.select_for_update().filter(**{name: wanted[name] for name in names})
        return rows.first()

    def execute(self, request: Request, *, decider: Person, actor: Actor, reason: str) -> None:
        """Set the limit to what was asked for."""
        _set(request, request.payload["after"], actor, reason)

    def target(self, request: Request) -> tuple[str, str]:
        """Return the project's limits."""
        project = _project(request)
        return f"{project.name}, limits", reverse("projects:limits", args=[project.code])

    def in_words(self, request: Request, value: Any, currency: str) -> str:
        """Return an amount."""
        return in_words(request.payload["metric"], value, currency)


KIND = RaiseOfALimit()


def _project(request: Request) -> Project:
    if request.project is None:
        raise RuleBroken("A raise is about a project.")
    return request.project


def _set(request: Request, amount: str | None, actor: Actor, reason: str) -> None:
    wanted, project = request.payload, _project(request)
    is_own = wanted["scope_key"] == scopes.project(project.pk)
    set_limit(
        scope_key=wanted["scope_key"],
        label=label_of(project) if is_own else each_user_label(label_of(project)),
        metric=wanted["metric"],
        window=wanted["window"],
        model=wanted["model"],
        amount=amount,
        actor=actor,
        project=project.pk,
        group=project.group_id,
        reason=reason,
        target=target_of(project),
    )


@transaction.atomic(durable=True)
def return_one_limit(*, actor: Actor) -> bool:
    """Give back one limit whose raise has ended; return whether there was one. Safe to run any number of times.

    A limit that was changed after the raise stays as it is: somebody meant it so.
    """
    ended = Request.objects.filter(
        kind=Request.Kind.LIMIT, state=Request.State.APPROVED, ends__lte=timezone.now(), returned=None
    )
    # The latest raise first: what it gives back is what an earlier one made.
    request = (
        ended.select_for_update(skip_locked=True, of=("self",))
        .select_related("project")
        .order_by("-decided", "-pk")
        .first()
    )
    if request is None or request.project is None:
        return False
    is_as_made = KIND.version(request) == request.made
    others = Request.objects.filter(kind=request.kind, thing=request.thing, state="approved", returned=None)
    if is_as_made:
        _set(request, request.payload["before"], actor, f"The raise of request {request.pk} has ended.")
        # An earlier raise that this one stood on can end in its turn.
        others.filter(made=request.version).update(made=KIND.version(request))
    elif later := others.filter(version=request.made).first():
        # A later raise stands on this one: when it ends, what was before both comes back.
        later.payload["before"] = request.payload["before"]
        later.save(update_fields=["payload"])
    request.returned = timezone.now()
    request.save(update_fields=["returned"])
    comment = "" if is_as_made else "The limit was changed since the raise, so it stays as it is."
    changes = {
        field: (after, before if is_as_made else after) for field, (before, after) in request.changes.items()
    }
    record(
        Action.LIMIT_RETURNED,
        actor=actor,
        target=target_of(request.project),
        project=request.project.pk,
        group=request.project.group_id,
        changes=changes,
        comment=f"{comment} Request {request.pk}.".strip(),
    )
    return True

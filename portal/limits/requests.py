"""Raises of limits: who may only raise them so far asks, a second person decides, and an end gives them back."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor
from audit.services import record
from groups.models import Group
from portal.accounts.models import Person
from portal.approvals.models import Request
from portal.approvals.services import open_request, target_of
from portal.decision.raising import Held
from portal.decision.services import lock_limits, set_limit, shown_amount, stored_amount
from portal.lib.errors import RuleBroken
from portal.lib.money import format_money, to_nano
from portal.limits.access import may_set
from portal.limits.places import Place, place_of
from portal.organization.selectors import current, end_of_day
from portal.spend.models import Limit
from portal.spend.scopes import Scope

METRICS = {
    "spend": "spend",
    "requests": "requests",
    "tokens": "model tokens",
    "concurrency": "calls in flight",
}


def name_of(limit: Limit) -> str:
    """Return a limit as people tell it from the others of the same project, group or organization."""
    name = METRICS[limit.metric] + ("" if limit.window == "none" else f" a {limit.window}")
    name = f"{name} of {limit.model}" if limit.model else name
    scope = Scope(limit.scope_key)
    if scope.is_each:
        return f"{name}, each user"
    if scope.code in ("project_user", "user"):
        person = Person.objects.filter(pk=_person_in(scope) or 0).first()
        return f"{name}, {person or 'a user'}"
    if scope.code == "project_group":
        return f"{name}, {Group.objects.filter(pk=scope.group or 0).first() or 'a group'}"
    return name


def in_words(metric: str, value: str | None, currency: str) -> str:
    """Return an exact amount as people read it."""
    if value is None:
        return "no limit"
    return format_money(to_nano(value), currency) if metric == "spend" else f"{int(value):,}"


@transaction.atomic(durable=True)
def ask_for_raise(
    *,
    limit: Limit,
    amount: int | None,
    requester: Person,
    actor: Actor,
    reason: str,
    until: date | None = None,
) -> Request:
    """Ask that a limit become `amount` (stored units, None = none), until a day's end or for good."""
    lock_limits(limit.scope_key)
    found = Limit.objects.select_for_update().filter(pk=limit.pk, mode=Limit.Mode.ENFORCE).first()
    if found is None or found.changed != limit.changed:
        raise RuleBroken("The limit was changed while you had this open. Look at it again, then ask.")
    if amount is not None:
        stored_amount(found.metric, shown_amount(found.metric, amount))
    if not Held.of(found).is_raised_by(Held(amount)):
        raise RuleBroken("That is no raise. Enter more than it is now, or set it yourself.", field="amount")
    place, scope = _there(found.scope_key), Scope(found.scope_key)
    before = shown_amount(found.metric, found.amount)
    after = None if amount is None else shown_amount(found.metric, amount)
    request = Request(
        kind=Request.Kind.LIMIT,
        thing=f"{found.scope_key}|{found.metric}|{found.window}|{found.model}"[:300],
        label=f"{_whose(place)}, {name_of(found)}"[:300],
        project=place.project,
        group=place.group if scope.code == "group" else None,
        requester=requester,
        beneficiary_id=_person_in(scope),
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
    is_alone = may_set(requester, place)
    return open_request(request, changes={field: [before, after]}, actor=actor, may_be_alone=is_alone)


def _there(scope_key: str) -> Place:
    place = place_of(scope_key)
    if place is None or place.is_gone:
        raise RuleBroken("What the limit is set on is no longer there.")
    return place


def _whose(place: Place) -> str:
    if place.project is not None:
        return place.project.name
    return place.group.name if place.group is not None else current().name


def _person_in(scope: Scope) -> int | None:
    is_named = scope.code in ("project_user", "user") and not scope.is_each
    return int(scope.key.rsplit(":", 1)[1]) if is_named else None


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
        """Return the limits of the project, of the group, of the person or of the organization."""
        if request.project is not None:
            return f"{request.project.name}, limits", reverse("projects:limits", args=[request.project.code])
        if request.group is not None:
            there = reverse("limits:list") if request.group.deleted else _page_of(request.group)
            return f"{request.group.name}, limits", there
        if person := _person_in(Scope(request.payload["scope_key"])):
            return "Limits of the person", f"{reverse('limits:list')}?person={person}"
        return "Limits of the organization", reverse("organization:limits")

    def in_words(self, request: Request, value: Any, currency: str) -> str:
        """Return an amount."""
        return in_words(request.payload["metric"], value, currency)


KIND = RaiseOfALimit()


def _page_of(group: Group) -> str:
    return reverse("groups:detail", args=[group.code])


def _set(request: Request, amount: str | None, actor: Actor, reason: str, *, is_return: bool = False) -> None:
    wanted = request.payload
    place = _there(wanted["scope_key"])
    set_limit(
        scope_key=wanted["scope_key"],
        label=place.label,
        metric=wanted["metric"],
        window=wanted["window"],
        model=wanted["model"],
        amount=amount,
        actor=actor,
        project=request.project_id,
        group=request.about_group,
        reason=reason,
        target=place.target,
        is_return=is_return,
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
    if request is None:
        return False
    place = place_of(request.payload["scope_key"])
    is_there = place is not None and not place.is_gone
    is_as_made = is_there and KIND.version(request) == request.made
    others = Request.objects.filter(kind=request.kind, thing=request.thing, state="approved", returned=None)
    if is_as_made:
        reason = f"The raise of request {request.pk} has ended."
        _set(request, request.payload["before"], actor, reason, is_return=True)
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
        target=place.target if place else target_of(request),
        project=request.project_id,
        group=request.about_group,
        changes=changes,
        comment=f"{comment} Request {request.pk}.".strip(),
    )
    return True

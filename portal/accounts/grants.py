"""Granted roles over time: they end by themselves, and a review confirms them or they are suspended."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.accounts.actors import target_of
from portal.accounts.models import AccessReview, RoleGrant
from portal.accounts.selectors import roles_granted
from portal.accounts.services import refuse_without_admin
from portal.lib.errors import RuleBroken

REVIEW_DAYS = timedelta(days=30)


def unconfirmed(review: AccessReview) -> QuerySet[RoleGrant]:
    """Return the grants that were there when the review began and that it has not confirmed yet."""
    there = RoleGrant.objects.filter(granted__lt=review.started, suspended=None)
    return there.filter(Q(confirmed=None) | Q(confirmed__lt=review.started)).order_by("person__name", "pk")


def open_review() -> AccessReview | None:
    """Return the review that is under way."""
    return AccessReview.objects.filter(closed=None).first()


@transaction.atomic(durable=True)
def end_one_grant(*, actor: Actor) -> bool:
    """End one grant that is over; return whether there was one. Safe to run anywhere, any number of times."""
    over = RoleGrant.objects.filter(expires__lte=timezone.now())
    grant = over.select_for_update(skip_locked=True, of=("self",)).select_related("person", "group").first()
    if grant is None:
        return False
    before = roles_granted(grant.person)
    person, group, ended = grant.person, grant.group_id, grant.expires
    grant.delete()
    record(
        Action.GRANT_ENDED,
        actor=actor,
        target=target_of(person),
        group=group,
        changes={"roles": (before, roles_granted(person)), "expires": (ended, None)},
    )
    return True


@transaction.atomic(durable=True)
def start_review(*, actor: Actor, reason: str = "") -> AccessReview:
    """Begin a review of all granted roles, due in 30 days."""
    if open_review():
        raise RuleBroken("A review is under way already.")
    review = AccessReview.objects.create(started_by=actor.display[:300], due=timezone.now() + REVIEW_DAYS)
    _record(Action.REVIEW_STARTED, review, actor, unconfirmed(review).count(), reason)
    return review


@transaction.atomic(durable=True)
def confirm_grant(*, grant: RoleGrant, actor: Actor, reason: str = "") -> RoleGrant:
    """Confirm that a role is still needed, which also resumes a suspended one. Nobody confirms their own."""
    grant = (
        RoleGrant.objects.select_for_update(of=("self",)).select_related("person", "group").get(pk=grant.pk)
    )
    if actor.type == "user" and actor.id == str(grant.person_id):
        raise RuleBroken("You cannot confirm your own role. Ask another administrator.")
    before = (grant.confirmed, grant.suspended)
    grant.confirmed, grant.confirmed_by, grant.suspended = timezone.now(), actor.display[:300], None
    grant.save(update_fields=["confirmed", "confirmed_by", "suspended"])
    changes: dict[str, tuple[object, object]] = {
        "role": (None, _name(grant)),
        "confirmed": (before[0], grant.confirmed),
    }
    if before[1]:
        changes["suspended"] = (before[1], None)
    record(
        Action.GRANT_CONFIRMED,
        actor=actor,
        target=target_of(grant.person),
        group=grant.group_id,
        changes=changes,
        comment=reason,
    )
    return grant


@transaction.atomic(durable=True)
def close_one_review(*, actor: Actor) -> bool:
    """Suspend what a review that is due has not confirmed, and close it; return whether there was one.

    The last administrator is never suspended; the log says so.
    """
    due = AccessReview.objects.filter(closed=None, due__lte=timezone.now())
    review = due.select_for_update(skip_locked=True).first()
    if review is None:
        return False
    grants = list(unconfirmed(review).select_for_update(of=("self",)).select_related("person", "group"))
    for grant in grants:
        alone = RoleGrant.objects.filter(pk=grant.pk)
        try:
            refuse_without_admin(alone)
        except RuleBroken as refusal:
            _record_suspension(grant, actor, kept=refusal.message)
            continue
        alone.update(suspended=timezone.now())
        _record_suspension(grant, actor)
    review.closed = timezone.now()
    review.save(update_fields=["closed"])
    _record(Action.REVIEW_CLOSED, review, actor, len(grants), "")
    return True


def _record_suspension(grant: RoleGrant, actor: Actor, kept: str = "") -> None:
    record(
        Action.GRANT_SUSPENDED,
        actor=actor,
        target=target_of(grant.person),
        group=grant.group_id,
        changes={"role": (_name(grant), _name(grant) if kept else None)},
        comment=f"Not suspended: {kept}" if kept else "No review has confirmed it.",
    )


def _record(action: Action, review: AccessReview, actor: Actor, number: int, reason: str) -> None:
    record(
        action,
        actor=actor,
        target=Target("access_review", str(review.pk), str(review)),
        changes={"due": (None, review.due), "unconfirmed": (None, number)},
        comment=reason,
    )


def _name(grant: RoleGrant) -> str:
    return f"{grant.role}:{grant.group.code}" if grant.group else str(grant.role)

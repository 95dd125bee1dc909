"""What a daily job does for user tokens: remind before the expiry, flag and suspend what nobody uses.

Each part may be killed at any line and run again: a message is written once, and a suspended token stays as it is.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from audit.actors import Actor
from portal.credentials.selectors import in_batches, unused_since
from portal.credentials.watch import days_left, due_reminder, quiet_since
from portal.notifications.models import Kind, Severity
from portal.notifications.services import Draft, notify_all
from portal.organization.selectors import current as current_organization
from tokens.models import UserToken
from tokens.services import suspend_token


def remind_of_expiry(now: datetime | None = None) -> int:
    """Tell holders of tokens that expire soon; return how many messages were new."""
    now, reminders = now or timezone.now(), current_organization().reminders
    if not reminders:
        return 0
    ending = UserToken.objects.filter(
        revoked__isnull=True, expires__gt=now, expires__lte=now + timedelta(days=max(reminders))
    )
    return sum(
        notify_all([draft for token in tokens if (draft := _expiry(token, now, reminders))])
        for tokens in in_batches(ending.select_related("project"))
    )


def flag_unused(now: datetime | None = None) -> int:
    """Tell holders of tokens that they have not used for long; return how many messages were new."""
    now, organization = now or timezone.now(), current_organization()
    quiet = unused_since(UserToken.objects.current(), now - timedelta(days=organization.unused_flag_days))
    days = organization.unused_suspend_days
    return sum(
        notify_all([_unused(token, days) for token in tokens])
        for tokens in in_batches(quiet.filter(suspended__isnull=True).select_related("project"))
    )


def suspend_unused(now: datetime | None = None) -> int:
    """Suspend tokens that were not used for even longer and tell their holders; return how many."""
    now, organization = now or timezone.now(), current_organization()
    days, suspended = organization.unused_suspend_days, 0
    quiet = unused_since(UserToken.objects.current(), now - timedelta(days=days))
    reason = f"Not used for {days} days"
    for tokens in in_batches(quiet.filter(suspended__isnull=True).select_related("project")):
        for token in tokens:
            with transaction.atomic():
                suspend_token(
                    token=token, reason=reason, cause=UserToken.Cause.UNUSED, actor=Actor.job("watch_tokens")
                )
                notify_all([_suspended(token, days)])
            suspended += 1
    return suspended


def watch(now: datetime | None = None) -> None:
    """Do all of it; what is suspended is not flagged besides."""
    remind_of_expiry(now)
    suspend_unused(now)
    flag_unused(now)


def _expiry(token: UserToken, now: datetime, reminders: Sequence[int]) -> Draft | None:
    if token.expires is None or (due := due_reminder(token.expires, now, reminders)) is None:
        return None
    return _draft(
        token,
        Kind.EXPIRY,
        Severity.WARN,
        f"Your token for {token.project.name} expires {days_left(token.expires, now)}",
        f"{token.name}, which ends in {token.last_four}, expires on {token.expires:%-d %B %Y, %H:%M} UTC. From then"
        " on every request with it is refused. Have another one issued before.",
        f"expiry {token.key_id} {due}",
    )


def _unused(token: UserToken, suspend_days: int) -> Draft:
    since = quiet_since(token)
    return _draft(
        token,
        Kind.UNUSED,
        Severity.INFO,
        f"Your token for {token.project.name} is not used",
        f"{token.name}, which ends in {token.last_four}, has not been used since {since:%-d %B %Y}. After"
        f" {suspend_days} days it is suspended. Revoke it if you do not need it any more.",
        f"unused {token.key_id} {since:%Y%m%d}",
    )


def _suspended(token: UserToken, days: int) -> Draft:
    return _draft(
        token,
        Kind.UNUSED,
        Severity.WARN,
        f"Your token for {token.project.name} is suspended",
        f"{token.name}, which ends in {token.last_four}, was not used for {days} days. It is refused until an owner"
        " of the project resumes it.",
        f"suspended {token.key_id} {quiet_since(token):%Y%m%d}",
    )


def _draft(token: UserToken, kind: Kind, severity: str, title: str, text: str, once: str) -> Draft:
    link = reverse("tokens:detail", args=[token.key_id])
    return Draft(
        kind,
        title,
        text,
        link,
        once,
        [token.person_id],
        severity,
        token.project_id,
        token.project.group_id,
        is_personal=True,
    )

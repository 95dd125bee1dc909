"""What a daily job does for API keys: remind before the expiry, flag and suspend what nobody uses.

Each part may be killed at any line and run again: a message is written once, and a suspended key stays as it is.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from apikeys.models import ApiKey
from apikeys.services import suspend_api_key
from audit.actors import Actor
from portal.credentials.selectors import in_batches, unused_since
from portal.credentials.watch import days_left, due_reminder, quiet_since
from portal.notifications.models import Kind, Severity
from portal.notifications.services import Draft, notify_all
from portal.organization.selectors import current as current_organization
from projects.models import Membership


def remind_of_expiry(now: datetime | None = None) -> int:
    """Tell owner, deputy and project owners of keys that expire soon; return how many messages were new."""
    now, reminders = now or timezone.now(), current_organization().reminders
    if not reminders:
        return 0
    ending = ApiKey.objects.filter(
        revoked__isnull=True, expires__gt=now, expires__lte=now + timedelta(days=max(reminders))
    )
    return sum(
        notify_all([draft for key in keys if (draft := _expiry(key, people[key.pk], now, reminders))])
        for keys in in_batches(ending.select_related("project"))
        for people in [_who_answers(keys)]
    )


def flag_unused(now: datetime | None = None) -> int:
    """Tell the same people of keys that nobody has used for long; return how many messages were new."""
    now, organization = now or timezone.now(), current_organization()
    quiet = unused_since(ApiKey.objects.current(), now - timedelta(days=organization.unused_flag_days))
    days = organization.unused_suspend_days
    return sum(
        notify_all([_unused(key, people[key.pk], days) for key in keys])
        for keys in in_batches(quiet.filter(suspended__isnull=True).select_related("project"))
        for people in [_who_answers(keys)]
    )


def suspend_unused(now: datetime | None = None) -> int:
    """Suspend keys that nobody has used for even longer and tell the same people; return how many."""
    now, organization = now or timezone.now(), current_organization()
    days, suspended = organization.unused_suspend_days, 0
    quiet = unused_since(ApiKey.objects.current(), now - timedelta(days=days))
    reason = f"Not used for {days} days"
    for keys in in_batches(quiet.filter(suspended__isnull=True).select_related("project")):
        people = _who_answers(keys)
        for key in keys:
            with transaction.atomic():
                suspend_api_key(
                    key=key, reason=reason, cause=ApiKey.Cause.UNUSED, actor=Actor.job("watch_api_keys")
                )
                notify_all([_suspended(key, people[key.pk], days)])
            suspended += 1
    return suspended


def watch(now: datetime | None = None) -> None:
    """Do all of it; what is suspended is not flagged besides."""
    remind_of_expiry(now)
    suspend_unused(now)
    flag_unused(now)


def _who_answers(keys: Sequence[ApiKey]) -> dict[int, list[int]]:
    """Return the people to tell of each key, by its number: owner, deputy and the owners of its project."""
    owners: dict[int, list[int]] = {}
    of_projects = Membership.objects.filter(
        project__in={key.project_id for key in keys}, role=Membership.Role.OWNER
    )
    for project, person in of_projects.order_by("pk").values_list("project", "person"):
        owners.setdefault(project, []).append(person)
    return {
        key.pk: list(
            dict.fromkeys(
                person
                for person in (key.owner_id, key.deputy_id, *owners.get(key.project_id, ()))
                if person is not None
            )
        )
        for key in keys
    }


def _expiry(key: ApiKey, people: list[int], now: datetime, reminders: Sequence[int]) -> Draft | None:
    if key.expires is None or (due := due_reminder(key.expires, now, reminders)) is None:
        return None
    return Draft(
        Kind.EXPIRY,
        f"API key {key.name} expires {days_left(key.expires, now)}",
        f"The key of {key.project.name} that ends in {key.last_four} expires on {key.expires:%-d %B %Y, %H:%M} UTC."
        " From then on every request with it is refused. Rotate it and renew it with that, or create another.",
        reverse("apikeys:detail", args=[key.key_id]),
        f"expiry {key.key_id} {key.expires:%Y%m%d%H%M} {due}",
        people,
        Severity.WARN,
        key.project_id,
        key.project.group_id,
    )


def _unused(key: ApiKey, people: list[int], suspend_days: int) -> Draft:
    since = quiet_since(key)
    return Draft(
        Kind.UNUSED,
        f"API key {key.name} is not used",
        f"The key of {key.project.name} that ends in {key.last_four} has not been used since {since:%-d %B %Y}."
        f" After {suspend_days} days it is suspended. Revoke it if nothing needs it any more.",
        reverse("apikeys:detail", args=[key.key_id]),
        f"unused {key.key_id} {since:%Y%m%d}",
        people,
        Severity.INFO,
        key.project_id,
        key.project.group_id,
    )


def _suspended(key: ApiKey, people: list[int], days: int) -> Draft:
    return Draft(
        Kind.UNUSED,
        f"API key {key.name} is suspended",
        f"The key of {key.project.name} that ends in {key.last_four} was not used for {days} days. It is refused"
        " until somebody resumes it.",
        reverse("apikeys:detail", args=[key.key_id]),
        f"suspended {key.key_id} {quiet_since(key):%Y%m%d}",
        people,
        Severity.WARN,
        key.project_id,
        key.project.group_id,
    )

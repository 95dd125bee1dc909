"""From when and until when a credential of calls is valid."""

from datetime import datetime, timedelta

from django.utils import timezone

from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization


def days_allowed(days: int | None) -> int:
    """Return the life of a credential in days, the organization's default if none was chosen."""
    policy = current_organization()
    if days is None:
        return policy.token_days_default
    if not 1 <= days <= policy.token_days_max:
        raise RuleBroken(f"Choose 1 to {policy.token_days_max} days.", field="days")
    return days


def life_of(days: int | None) -> timedelta:
    """Return the life of a credential, the organization's default if none was chosen."""
    return timedelta(days=days_allowed(days))


def beginning(not_before: datetime | None) -> datetime | None:
    """Return from when on the credential is valid, None for at once; no later than the longest life from now."""
    now, most = timezone.now(), current_organization().token_days_max
    if not_before is None or not_before <= now:
        return None
    if not_before > now + timedelta(days=most):
        raise RuleBroken(f"Choose a moment within {most} days.", field="not_before")
    return not_before

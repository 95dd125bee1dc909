"""Questions that hold for every kind of credential."""

from datetime import timedelta
from typing import TypeVar

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from portal.credentials.models import EXPIRING_DAYS, CallCredential

STATUSES = [
    ("", "Any status"),
    ("active", "Active"),
    ("expiring", "Expires soon"),
    ("expired", "Expired"),
    ("suspended", "Suspended"),
    ("revoked", "Revoked"),
]

M = TypeVar("M", bound=Model)


def with_status(credentials: QuerySet[M], status: str) -> QuerySet[M]:
    """Return the credentials of a status; ``active`` includes those that expire soon, empty is all of them."""
    now = timezone.now()
    is_of_calls = issubclass(credentials.model, CallCredential)
    running = Q(suspended__isnull=True) if is_of_calls else Q()
    if status == "revoked":
        return credentials.filter(revoked__isnull=False)
    if status == "expired":
        return credentials.filter(revoked__isnull=True, expires__lte=now)
    if status == "expiring":
        soon = now + timedelta(days=EXPIRING_DAYS)
        return credentials.filter(running, revoked__isnull=True, expires__gt=now, expires__lt=soon)
    lasting = Q(expires__isnull=True) | Q(expires__gt=now)
    if status == "active":
        return credentials.filter(running, lasting, revoked__isnull=True)
    if status == "suspended" and is_of_calls:
        return credentials.filter(lasting, revoked__isnull=True, suspended__isnull=False)
    return credentials


def by_time(words: str) -> str:
    """Return the order of a list in words, where the figures of its column are moments."""
    if words.startswith("last used"):
        return words.replace("highest first", "latest first").replace("lowest first", "longest ago first")
    return words

"""Questions that hold for every kind of credential."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TypeVar

from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Right
from django.utils import timezone

from portal.credentials.models import EXPIRING_DAYS, CallCredential

STATUSES = [
    ("", "Any status"),
    ("active", "Active"),
    ("starting", "Not yet valid"),
    ("expiring", "Expires soon"),
    ("expired", "Expired"),
    ("suspended", "Suspended"),
    ("revoked", "Revoked"),
]
UNUSED = ("unused", "Not used for long")

MOST_COUNTED = 1000

M = TypeVar("M", bound=Model)


def with_status(credentials: QuerySet[M], status: str) -> QuerySet[M]:
    """Return the credentials of a status; ``active`` includes those that begin later or expire soon, empty is all."""
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
    if status == "starting" and is_of_calls:
        return credentials.filter(running, not_before__gt=now, revoked__isnull=True)
    if status == "suspended" and is_of_calls:
        return credentials.filter(lasting, revoked__isnull=True, suspended__isnull=False)
    return credentials


def counted(credentials: QuerySet[M], noun: str) -> str:
    """Return how many there are in words, counting no further than a person would: ``more than 1,000 tokens``."""
    number = credentials.order_by()[: MOST_COUNTED + 1].count()
    if number > MOST_COUNTED:
        return f"more than {MOST_COUNTED:,} {noun}s"
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def with_text(credentials: QuerySet[M], text: str, also: Q | None = None) -> QuerySet[M]:
    """Return those whose name begins with the text, whose id it is, or whose secret ends in it; ``also`` widens that.

    Each part is answered by an index of its own.
    """
    found = Q(name__istartswith=text) | Q(key_id=text) | Q(last_four_shown=text)
    known: QuerySet[M] = credentials.alias(last_four_shown=Right("hint", 4))  # type: ignore[assignment]
    return known.filter(found | also if also else found)


def unused_since(credentials: QuerySet[M], moment: datetime) -> QuerySet[M]:
    """Return those that could have been used and were not since the moment, made, valid or resumed before it."""
    quiet = Q(last_used__lt=moment) | Q(last_used__isnull=True)
    resumed = Q(resumed__lt=moment) | Q(resumed__isnull=True)
    begun = Q(not_before__lt=moment) | Q(not_before__isnull=True)
    return credentials.filter(quiet, resumed, begun, created__lt=moment, revoked__isnull=True)


def in_batches(credentials: QuerySet[M], size: int = 500) -> Iterator[list[M]]:
    """Yield all of them by their number, each batch found by the index of the last one's end."""
    last = 0
    while batch := list(credentials.filter(pk__gt=last).order_by("pk")[:size]):
        yield batch
        last = batch[-1].pk

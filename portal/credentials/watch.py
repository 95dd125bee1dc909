"""When people are told about a credential: before it expires, and when nobody uses it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from portal.credentials.models import CallCredential


def due_reminder(expires: datetime, now: datetime, reminders: Sequence[int]) -> int | None:
    """Return which of the reminders (days before the expiry) is due: the last that was passed; None before the first.

    Told each day, or after days of silence, a person hears of each at most once and never of an earlier one later.
    """
    left = expires - now
    return min((days for days in reminders if left <= timedelta(days=days)), default=None)


def days_left(expires: datetime, now: datetime) -> str:
    """Return how long until then, in words: ``in 7 days``, ``tomorrow``, ``today``."""
    days = -(-(expires - now) // timedelta(days=1))
    return "within a day" if days <= 1 else f"in {days} days"


def quiet_since(credential: CallCredential) -> datetime:
    """Return since when the credential is not used: its last use, or when it was made, became valid or was resumed."""
    moments = (credential.created, credential.not_before, credential.last_used, credential.resumed)
    return max(moment for moment in moments if moment)

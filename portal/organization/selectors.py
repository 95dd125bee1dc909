"""Questions about the organization."""

from datetime import date, datetime, timedelta

from portal.lib.windows import midnight, to_datetime
from portal.organization.models import Organization


def current() -> Organization:
    """Return the organization; before it has been set up, one with the defaults."""
    return Organization.objects.filter(pk=1).first() or Organization(pk=1)


def end_of_day(day: date | None) -> datetime | None:
    """Return the moment at which a day ends in the organization's time zone; None for no day."""
    return None if day is None else to_datetime(midnight(day + timedelta(days=1), current().zone))

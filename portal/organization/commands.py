"""What commands say about time, as the organization reads it."""

from datetime import UTC, datetime

from django.utils.dateparse import parse_date, parse_datetime

from portal.lib.windows import midnight, to_datetime
from portal.organization.selectors import current
from portal.web.commands import UsageError


def moment(text: str) -> datetime:
    """Read a moment; without a zone it is UTC, and a day begins at the organization's midnight."""
    try:
        if day := parse_date(text):
            return to_datetime(midnight(day, current().time_zone))
        if found := parse_datetime(text):
            return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        pass
    raise UsageError(f"{text} is no moment. Write it like 2026-11-24T09:00:00Z or 2026-11-24.")

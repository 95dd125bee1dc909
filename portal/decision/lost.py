"""What rebuilds forgot: calls that were reserved before one and reported after it. At most that much is overspent."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from portal.decision.models import Rebuild

# A call that long after its reservation is late anyway.
REPORTED_WITHIN = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Lost:
    """Calls that rebuilds may have forgotten, and what was reserved for them, in nano-units.

    A rebuild that found some reservations kept them, so this is the most it can have been.
    """

    calls: int
    reserved: int


def count_lost() -> None:
    """Bring the numbers of the latest rebuilds up to date; those of older ones stay as they are.

    A call belongs to the first rebuild after its reservation.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH recent AS (SELECT id, finished, lag(finished) OVER (ORDER BY finished) AS before"
            "   FROM decision_rebuild WHERE finished >= %(since)s - interval '1 day'),"
            " used AS (SELECT moment, arrived, reserved FROM ledger"
            "   WHERE moment >= %(since)s - interval '2 hours' AND reserved IS NOT NULL AND kind = 'settle'"
            "  UNION ALL SELECT moment, arrived, reserved FROM usage_inbox"
            "   WHERE reserved IS NOT NULL AND kind = 'settle'),"
            " found AS (SELECT b.id, count(u.moment) AS calls, coalesce(sum(u.reserved), 0) AS spend"
            "   FROM recent AS b LEFT JOIN used AS u ON u.moment < b.finished AND u.arrived >= b.finished"
            "    AND u.moment >= coalesce(b.before, '-infinity')"
            "    AND u.moment >= b.finished - interval '2 hours'"
            "  WHERE b.finished >= %(since)s GROUP BY b.id)"
            " UPDATE decision_rebuild AS r SET lost_calls = found.calls, lost_spend = found.spend"
            " FROM found WHERE r.id = found.id AND (r.lost_calls, r.lost_spend) <> (found.calls, found.spend)",
            {"since": timezone.now() - REPORTED_WITHIN},
        )


def lost_since(since: datetime) -> Lost:
    """Add up what the rebuilds since the moment forgot, as it was last counted."""
    found = Rebuild.objects.filter(finished__gte=since).aggregate(
        calls=Sum("lost_calls"), reserved=Sum("lost_spend")
    )
    return Lost(found["calls"] or 0, int(found["reserved"] or 0))

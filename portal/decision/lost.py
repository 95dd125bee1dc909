"""What a rebuild forgot: calls that were reserved before it and reported after it. At most that much is overspent."""

from datetime import timedelta

from django.db import connection
from django.utils import timezone

# A call that long after its reservation is late anyway.
REPORTED_WITHIN = timedelta(hours=3)


def count_lost() -> None:
    """Bring the numbers of the latest rebuilds up to date; those of older ones stay as they are."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE decision_rebuild AS r SET lost_calls = found.calls, lost_spend = found.spend"
            " FROM (SELECT b.id, count(l.id) AS calls, coalesce(sum(l.reserved), 0) AS spend"
            "   FROM decision_rebuild AS b LEFT JOIN ledger AS l ON l.moment < b.finished"
            "    AND l.moment >= b.finished - interval '2 hours' AND l.arrived >= b.finished"
            "    AND l.reserved IS NOT NULL AND l.kind = 'settle'"
            "  WHERE b.finished >= %s GROUP BY b.id) AS found"
            " WHERE r.id = found.id AND (r.lost_calls, r.lost_spend) <> (found.calls, found.spend)",
            [timezone.now() - REPORTED_WITHIN],
        )

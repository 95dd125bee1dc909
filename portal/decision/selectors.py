"""Questions about the decision itself."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection


@dataclass(frozen=True, slots=True)
class LostReservations:
    """Calls that were open when Valkey may have lost its data, and what was reserved for them, in nano-units."""

    calls: int
    amount: int


def lost_reservations(since: datetime) -> LostReservations:
    """Return what reservations may have been lost since the moment: later overspend is at most that.

    Those are the calls that were authorized before a rebuild and reported after it. A rebuild that found some
    reservations kept them, so this is the most it can have been.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(sum(reserved), 0) FROM ("
            " SELECT moment, arrived, reserved FROM usage_inbox"
            "  WHERE moment >= %(since)s AND reserved IS NOT NULL AND kind IN ('settle', 'estimate')"
            " UNION ALL SELECT moment, arrived, reserved FROM ledger"
            "  WHERE moment >= %(since)s AND reserved IS NOT NULL AND kind IN ('settle', 'estimate')) AS used"
            " WHERE EXISTS (SELECT 1 FROM decision_rebuild AS r WHERE used.moment < r.finished"
            " AND r.finished <= used.arrived)",
            {"since": since},
        )
        calls, amount = cursor.fetchone()
    return LostReservations(int(calls), int(amount))

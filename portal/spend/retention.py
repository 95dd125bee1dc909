"""What is kept how long. Roll-ups and the audit log stay for good; what they are made of goes by policy."""

from datetime import date, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.spend.models import Refusal

# Usage older than RESTATEMENT_DAYS is refused, so its key decides nothing any more; a few days for slow clocks.
_MARGIN_DAYS = 5
_PAGES = 5000
_ROWS = 10_000


def drop_old(actor: Actor) -> list[str]:
    """Drop partitions of the ledger and delete refusals and settlement keys that are old; return the partitions.

    Every step is a short transaction: killed at any line, the next turn goes on.
    """
    dropped = drop_partitions(actor)
    prune_keys()
    prune_refusals()
    return dropped


def drop_partitions(actor: Actor) -> list[str]:
    """Drop the partitions of the ledger older than LEDGER_MONTHS; 0 keeps all."""
    if not settings.LEDGER_MONTHS:
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT ledger_drop_partitions(%s)", [settings.LEDGER_MONTHS])
        dropped: list[str] = cursor.fetchone()[0]
        if dropped:
            record(
                Action.USAGE_DROPPED,
                actor=actor,
                target=Target("organization", "1", "the organization"),
                changes={"partitions": (dropped, None)},
                comment=f"Older than {settings.LEDGER_MONTHS} months; the roll-ups stay.",
            )
    return dropped


def whole_since() -> date | None:
    """Return the first local day whose calls are all in the ledger; None when nothing was ever dropped."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT to_date(right(min(c.relname), 7), 'YYYY_MM'), (SELECT min(day) FROM spend_rollup)"
            " FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'ledger'::regclass AND c.relname ~ '^ledger_[0-9]{4}_[0-9]{2}$'"
        )
        first, earliest = cursor.fetchone()
    if first is None or earliest is None or earliest >= first - timedelta(days=1):
        return None
    # A partition begins by UTC, a day by the organization's zone.
    return first + timedelta(days=2)  # type: ignore[no-any-return]


def prune_keys() -> int:
    """Delete the keys of calls whose usage would be refused as too old; return how many.

    The table has no index by time, for every settlement would pay for it: it is read once, a range of pages at a time.
    """
    before = timezone.now() - timedelta(days=settings.RESTATEMENT_DAYS + _MARGIN_DAYS)
    pruned, first = 0, 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_relation_size('usage_key') / current_setting('block_size')::bigint",
        )
        pages = cursor.fetchone()[0]
        while first < pages:
            cursor.execute(
                "DELETE FROM usage_key WHERE ctid >= %s::tid AND ctid < %s::tid AND moment < %s",
                [f"({first},0)", f"({first + _PAGES},0)", before],
            )
            pruned += cursor.rowcount
            first += _PAGES
    return pruned


def prune_refusals() -> int:
    """Delete refusals older than REFUSAL_DAYS; return how many. 0 keeps all."""
    if not settings.REFUSAL_DAYS:
        return 0
    pruned, before = 0, timezone.now() - timedelta(days=settings.REFUSAL_DAYS)
    while True:
        old = Refusal.objects.filter(occurred__lt=before).order_by("occurred").values("pk")[:_ROWS]
        gone = Refusal.objects.filter(pk__in=old).delete()[0]
        pruned += gone
        if gone < _ROWS:
            return pruned

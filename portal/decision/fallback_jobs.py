"""What workers do with usage and reservations, done by web processes while Valkey, the workers' broker, is away."""

from django.db import transaction
from django.utils import timezone

from portal.decision import configuration, epoch, fallback_store, jobs
from portal.spend import inbox, settled


def expire(batch: int = 500, now_ms: int | None = None) -> int:
    """Book an estimate for every reservation of Postgres that expired unsettled; return how many were booked.

    One that Valkey made, and of which only the id is known, is left to Valkey.
    """
    config = configuration.of_record()
    usual: dict[tuple[int, str], settled.Typical | None] = {}
    now = timezone.now()
    booked = 0
    while rows := fallback_store.due(now_ms or int(now.timestamp() * 1000), batch):
        known = [fallback_store.due_row(row) for row in rows if row.request_id]
        with transaction.atomic():
            stored = jobs.add_estimates([jobs.estimate_of(row, config, now, usual) for row in known])
            fallback_store.drop(row.key for row in rows)
        booked += len(stored)
    return booked


def move_usage(batch: int = 2000) -> int:
    """Move usage to the ledger uncounted; return how many rows moved. Valkey is rebuilt from it before it decides."""
    moved = 0
    while True:
        with epoch.locked(exclusive=False, wait_ms=1000) as decider:
            rows = inbox.waiting(batch) if decider.state == epoch.State.POSTGRES else []
            done = inbox.move(rows) if rows else 0
        moved += done
        if len(rows) < batch or not done:
            return moved

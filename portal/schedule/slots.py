"""Take and finish turns. Postgres decides who has one: its unique row, and its clock for how long."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import current_app
from django.db import connection
from django.utils import timezone

from portal.schedule.models import Slot
from portal.schedule.turns import Every

# Longer than a worker lets any job run (portal.celery): then whoever held it is dead.
LEASE_SECONDS = 330
AGAIN_AFTER = 20  # seconds, when a job could not reach what it needs
MOST_ATTEMPTS = 8
_GRACE = timedelta(seconds=20)  # until a wake-up counts as lost
_DAYS_KEPT = 3

_TAKE = """
    INSERT INTO schedule_slot AS s (job, scheduled_for, owner, attempts, until)
    SELECT %(job)s, %(slot)s, %(owner)s, 1, clock_timestamp() + make_interval(secs => %(lease)s)
     WHERE %(slot)s > clock_timestamp() - make_interval(days => %(kept)s)
    ON CONFLICT (job, scheduled_for) DO UPDATE
       SET owner = excluded.owner, attempts = s.attempts + 1, until = excluded.until
     WHERE s.finished IS NULL AND s.attempts < %(most)s AND (s.owner = excluded.owner OR s.until < clock_timestamp())
    RETURNING s.id
"""


def take(job: str, slot: datetime, owner: str) -> int | None:
    """Take the turn for the message ``owner``; None when it was taken, is over, or is older than rows are kept.

    A message that comes again – its worker was killed – takes its own turn again at once, any other after the lease.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _TAKE,
            {
                "job": job,
                "slot": slot,
                "owner": owner,
                "lease": LEASE_SECONDS,
                "kept": _DAYS_KEPT,
                "most": MOST_ATTEMPTS,
            },
        )
        row = cursor.fetchone()
    return int(row[0]) if row else None


def finish(slot_id: int) -> None:
    """Note that the turn is over, and forget old turns of all jobs."""
    now = timezone.now()
    Slot.objects.filter(pk=slot_id).update(finished=now)
    Slot.objects.filter(scheduled_for__lt=now - timedelta(days=_DAYS_KEPT)).delete()


def give_back(slot_id: int) -> None:
    """Leave the turn to the sweep: what the job needs cannot be reached at the moment."""
    Slot.objects.filter(pk=slot_id, finished=None).update(
        owner="", until=timezone.now() + timedelta(seconds=AGAIN_AFTER)
    )


def lost(now: datetime | None = None) -> Iterator[tuple[str, dict[str, Any], datetime]]:
    """Yield job, schedule entry and turn where the latest turn is not over and nobody is at it.

    Valkey holds the wake-ups and may lose them: this finds out from the record alone. Only the latest turn of a job
    is caught up, since every job does all that is to be done.
    """
    now = now or timezone.now()
    for name, entry in current_app.conf.beat_schedule.items():
        turns = entry["schedule"]
        if not isinstance(turns, Every) or not turns.has_slots:
            continue
        slot = turns.slot(now - _GRACE)
        taken = Slot.objects.filter(job=name, scheduled_for=slot)
        is_held = taken.exclude(finished=None) | taken.filter(until__gt=now)
        if not is_held.exists() and not taken.filter(attempts__gte=MOST_ATTEMPTS).exists():
            yield name, entry, slot


def headers(job: str, slot: datetime) -> dict[str, Any]:
    """Return what a wake-up carries of its turn."""
    return {"portal_job": job, "portal_slot": slot.astimezone(UTC).isoformat()}


def wake(job: str, entry: dict[str, Any], slot: datetime) -> None:
    """Send the wake-up of a turn again."""
    current_app.send_task(entry["task"], headers=headers(job, slot), **entry["options"])

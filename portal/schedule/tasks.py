"""Celery wakes the sweep."""

from celery import shared_task

from portal.schedule import slots


@shared_task(name="schedule.sweep")
def sweep() -> None:
    """Every 30 seconds: wake-ups that were lost are sent again."""
    for job, entry, slot in list(slots.lost()):
        slots.wake(job, entry, slot)

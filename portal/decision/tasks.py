"""Celery wakes the jobs; each is idempotent and says nothing back."""

from celery import shared_task

from audit.actors import Actor
from portal.decision import check, foresight, health, jobs, publish
from portal.decision.lost import count_lost


@shared_task(name="decision.move_usage")
def move_usage() -> None:
    """Every second: inbox to ledger and roll-ups."""
    jobs.move_usage()


@shared_task(name="decision.expire_reservations")
def expire_reservations() -> None:
    """Every 10 seconds: book estimates for expired reservations."""
    jobs.expire_reservations()


@shared_task(name="decision.move_refusals")
def move_refusals() -> None:
    """Every 2 seconds: refusals to Postgres."""
    jobs.move_refusals()


@shared_task(name="decision.drain_outbox")
def drain_outbox() -> None:
    """Every 5 seconds: publish what a crash cut off."""
    publish.drain()


@shared_task(name="decision.check_limits")
def check_limits() -> None:
    """Every minute: counters, roll-ups and limits against each other."""
    check.check_limits(Actor.job("check_limits"))
    count_lost()
    health.note_check()


@shared_task(name="decision.foresee_limits")
def foresee_limits() -> None:
    """Every hour: monthly limits that the forecast reaches before the month ends."""
    foresight.foresee_limits()


@shared_task(name="decision.note_last_use")
def note_last_use() -> None:
    """Every minute: when credentials were last used."""
    jobs.note_last_use()

"""Celery wakes the jobs; each is idempotent and says nothing back."""

import logging
from collections.abc import Callable
from typing import Any

from celery import shared_task
from django.db import InterfaceError, OperationalError, close_old_connections

from audit.actors import Actor
from portal.decision import check, health, jobs, publish
from portal.lib.errors import Unavailable

log = logging.getLogger(__name__)


def _run(name: str, work: Callable[[], Any]) -> None:
    """Run a job; what cannot be reached now is tried again at its next turn."""
    try:
        work()
    except (Unavailable, OperationalError, InterfaceError) as error:
        log.warning("%s: %s; it runs again at its next turn", name, error)
    finally:
        close_old_connections()


@shared_task(name="decision.move_usage")
def move_usage() -> None:
    """Every second: inbox to ledger and roll-ups."""
    _run("move usage", jobs.move_usage)


@shared_task(name="decision.expire_reservations")
def expire_reservations() -> None:
    """Every 10 seconds: book estimates for expired reservations."""
    _run("expire reservations", jobs.expire_reservations)


@shared_task(name="decision.move_refusals")
def move_refusals() -> None:
    """Every 2 seconds: refusals to Postgres."""
    _run("move refusals", jobs.move_refusals)


@shared_task(name="decision.drain_outbox")
def drain_outbox() -> None:
    """Every 5 seconds: publish what a crash cut off."""
    _run("drain the outbox", publish.drain)


@shared_task(name="decision.check_limits")
def check_limits() -> None:
    """Every minute: counters, roll-ups and limits against each other."""
    _run("check limits", _check_limits)


def _check_limits() -> None:
    check.check_limits(Actor.job("check_limits"))
    health.note_check()


@shared_task(name="decision.note_last_use")
def note_last_use() -> None:
    """Every minute: when credentials were last used."""
    _run("note last use", jobs.note_last_use)

"""Celery wakes what ends by itself: requests that nobody decided."""

import logging

from celery import shared_task
from django.db import OperationalError, close_old_connections

from audit.actors import Actor
from portal.approvals.services import expire_one

log = logging.getLogger(__name__)


@shared_task(name="approvals.expire_requests")
def expire_requests() -> None:
    """Every 5 minutes: requests older than seven days expire."""
    actor = Actor.job("expire_requests")
    try:
        while expire_one(actor=actor):
            pass
    except OperationalError as error:
        log.warning("expire requests: %s; it runs again at its next turn", error)
    finally:
        close_old_connections()

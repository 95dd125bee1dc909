"""Celery wakes what gives limits back."""

import logging

from celery import shared_task
from django.db import InterfaceError, OperationalError, close_old_connections

from audit.actors import Actor
from portal.limits.requests import return_one_limit

log = logging.getLogger(__name__)


@shared_task(name="limits.return_limits")
def return_limits() -> None:
    """Every minute: raises that have ended."""
    actor = Actor.job("return_limits")
    try:
        while return_one_limit(actor=actor):
            pass
    except (OperationalError, InterfaceError) as error:
        log.warning("return limits: %s; it runs again at its next turn", error)
    finally:
        close_old_connections()

"""Celery wakes the refresher of the standings."""

import logging

from celery import shared_task
from django.db import InterfaceError, OperationalError, close_old_connections

from audit.actors import Actor
from projects.requests import return_one_limit
from projects.standing import catch_up_with_time

log = logging.getLogger(__name__)


@shared_task(name="projects.refresh_standings")
def refresh_standings() -> None:
    """Every 5 seconds: the order of the lists of projects."""
    try:
        catch_up_with_time()
    except (OperationalError, InterfaceError) as error:
        log.warning("refresh standings: %s; it runs again at its next turn", error)
    finally:
        close_old_connections()


@shared_task(name="projects.return_limits")
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

"""Celery wakes the refresher of the standings."""

import logging

from celery import shared_task
from django.db import InterfaceError, OperationalError, close_old_connections

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

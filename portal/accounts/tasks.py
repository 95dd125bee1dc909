"""Celery wakes the jobs of accounts."""

import logging
from importlib import import_module

from celery import shared_task
from django.conf import settings
from django.db import OperationalError, close_old_connections

log = logging.getLogger(__name__)


@shared_task(name="accounts.clear_sessions")
def clear_sessions() -> None:
    """Every night: sessions that are over leave the database."""
    try:
        import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    except OperationalError as error:
        log.warning("clear sessions: %s; it runs again at its next turn", error)
    finally:
        close_old_connections()

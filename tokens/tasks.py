"""Celery wakes the watch over user tokens."""

import logging

from celery import shared_task
from django.db import InterfaceError, OperationalError, close_old_connections

from tokens.watch import watch

log = logging.getLogger(__name__)


@shared_task(name="tokens.watch")
def watch_all() -> None:
    """Every day: what expires, and what nobody uses."""
    try:
        watch()
    except (OperationalError, InterfaceError) as error:
        log.warning("watch user tokens: %s; it runs again at its next turn", error)
    finally:
        close_old_connections()

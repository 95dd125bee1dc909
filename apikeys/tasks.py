"""Celery wakes the watch over API keys."""

import logging

from celery import shared_task
from django.db import InterfaceError, OperationalError, close_old_connections

from apikeys.services import refresh_users
from apikeys.watch import watch

log = logging.getLogger(__name__)


@shared_task(name="apikeys.watch")
def watch_all() -> None:
    """Every day: what expires, and what nobody uses."""
    try:
        watch()
    except (OperationalError, InterfaceError) as error:
        log.warning("watch API keys: %s; it runs again at its next turn", error)
    finally:
        close_old_connections()


@shared_task(name="apikeys.refresh_named_users")
def refresh_named_users() -> None:
    """Every 5 minutes: whom keys may name, where the directory changed people or groups."""
    try:
        refresh_users()
    except (OperationalError, InterfaceError) as error:
        log.warning("refresh named users: %s; it runs again at its next turn", error)
    finally:
        close_old_connections()

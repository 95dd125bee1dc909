"""Celery wakes the jobs of accounts."""

import logging
from importlib import import_module

from celery import shared_task
from django.conf import settings
from django.db import OperationalError, close_old_connections

from audit.actors import Actor
from portal.accounts.grants import close_one_review, end_one_grant

log = logging.getLogger(__name__)


@shared_task(name="accounts.clear_sessions")
def clear_sessions() -> None:
    """Every night: sessions that are over leave the database."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()


@shared_task(name="accounts.end_grants")
def end_grants() -> None:
    """Every minute: roles whose time is over, and those that a review has not confirmed in time."""
    actor = Actor.job("end_grants")
    try:
        while end_one_grant(actor=actor) or close_one_review(actor=actor):
            pass
    except OperationalError as error:
        log.warning("end grants: %s; it runs again at its next turn", error)
    finally:
        close_old_connections()

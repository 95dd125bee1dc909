"""Celery wakes the jobs of accounts."""

from importlib import import_module

from celery import shared_task
from django.conf import settings


@shared_task(name="accounts.clear_sessions")
def clear_sessions() -> None:
    """Every night: sessions that are over leave the database."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()

"""Celery wakes the jobs of delivery; each is idempotent and says nothing back."""

import logging
from collections.abc import Callable
from typing import Any

from celery import shared_task
from django.db import InterfaceError, OperationalError, close_old_connections

from portal.notifications import delivery

log = logging.getLogger(__name__)


@shared_task(name="notifications.send_mail")
def send_mail() -> None:
    """Every 5 seconds: the e-mails that are due."""
    _run("send mail", delivery.send_mail)


@shared_task(name="notifications.send_webhooks")
def send_webhooks() -> None:
    """Every 5 seconds: the webhooks that are due."""
    _run("send webhooks", delivery.send_webhooks)


def _run(name: str, work: Callable[[], Any]) -> None:
    try:
        work()
    except (OperationalError, InterfaceError) as error:
        log.warning("%s: %s; it runs again at its next turn", name, error)
    finally:
        close_old_connections()

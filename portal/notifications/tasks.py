"""Celery wakes the jobs of delivery; each is idempotent and says nothing back."""

from celery import shared_task

from portal.notifications import delivery


@shared_task(name="notifications.send_mail")
def send_mail() -> None:
    """Every 5 seconds: the e-mails that are due."""
    delivery.send_mail()


@shared_task(name="notifications.send_webhooks")
def send_webhooks() -> None:
    """Every 5 seconds: the webhooks that are due."""
    delivery.send_webhooks()

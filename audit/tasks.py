"""Celery wakes the job of the log."""

from pathlib import Path

from celery import shared_task
from django.conf import settings

from audit.anchors import write_anchor


@shared_task(name="audit.keep_anchor")
def keep_anchor() -> None:
    """Every five minutes: the end of the chain, where it has moved, goes to a file outside of the database."""
    if settings.AUDIT_ANCHORS:
        write_anchor(Path(settings.AUDIT_ANCHORS))

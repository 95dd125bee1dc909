"""Celery wakes the synchronization."""

import logging

from celery import shared_task

from audit.actors import Actor
from portal.directory.models import SyncRun
from portal.directory.sync import sync_when_due

log = logging.getLogger(__name__)


@shared_task(name="directory.sync")
def sync_directory() -> None:
    """Every 15 seconds: run if five minutes are nearly over, or somebody asked."""
    run = sync_when_due(actor=Actor.job("sync_directory"))
    if run is not None and run.outcome == SyncRun.Outcome.FAILED:
        log.warning("directory: %s; it runs again in a minute", run.problem)

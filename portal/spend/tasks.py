"""Celery wakes the jobs of the ledger."""

from celery import shared_task
from django.db import connection

from audit.actors import Actor
from portal.spend import months, retention


@shared_task(name="spend.make_partitions")
def make_partitions() -> None:
    """Every hour: the ledger's partitions for the next three months, and those still open to restatement.

    The calls of each minute are kept for some hours only.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_make_partitions(2, 3)")
        cursor.execute("DELETE FROM call_minute WHERE minute < now() - interval '3 hours'")


@shared_task(name="spend.drop_old")
def drop_old() -> None:
    """Every night: what is older than the policy keeps it."""
    retention.drop_old(Actor.job("drop_old"))


@shared_task(name="spend.freeze_months")
def freeze_months() -> None:
    """Every night: months that are over get their report."""
    months.freeze_months(Actor.job("freeze_months"))

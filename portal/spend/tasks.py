"""Celery wakes the jobs of the ledger."""

from celery import shared_task
from django.db import connection


@shared_task(name="spend.make_partitions")
def make_partitions() -> None:
    """Every hour: the ledger's partitions for the next three months, and those still open to restatement."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_make_partitions(2, 3)")

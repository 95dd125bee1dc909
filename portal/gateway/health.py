"""Probes: neither needs a login, neither tells versions or secrets."""

import json
import logging

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.db.migrations.executor import MigrationExecutor

from portal.decision import renewal, valkey
from portal.lib import drain
from portal.lib.errors import Unavailable

log = logging.getLogger(__name__)

# Migrations only grow while a process lives: once they were all applied, they are.
_is_migrated = False


def _migrated() -> bool:
    global _is_migrated
    if not _is_migrated:
        executor = MigrationExecutor(connection)
        _is_migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _is_migrated


def ready() -> tuple[int, bytes]:
    """Return status and body of ``/readyz``: not draining, Postgres reachable and migrated, secrets present.

    Valkey may be away.
    """
    if drain.is_draining():
        return 503, b'{"status":"draining"}'
    close_old_connections()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        is_good = _migrated() and bool(settings.SECRET_KEY) and bool(settings.PEPPERS)
    except DatabaseError as error:
        log.warning("not ready: %s", error)
        is_good = False
    finally:
        close_old_connections()
    if not is_good:
        return 503, b'{"status":"unavailable"}'
    known = renewal.here()
    try:
        is_away = known is not None and (known.postgres_decides() or known.is_valkey_silent())
        if not is_away:
            valkey.command("PING")
    except Unavailable:
        is_away = True
    if is_away:
        return 200, json.dumps({"status": "degraded", "degraded": ["valkey"]}).encode()
    return 200, b'{"status":"ok"}'

"""Servers for the tests: loaded with `-p tests.servers_plugin`, since settings are read before any conftest.py.

They live in a temporary directory that their keeper deletes when pytest has ended, also when it was killed.
The tests run as the role that owns the tables, for they create a database; TEST_DATABASE_APP_URL holds the
application's role on that database, for tests of privileges.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from portal.demo.lease import Lease

# A test is one transaction, which on a busy machine may idle longer than one of the portal's ever does.
_PATIENT = urlencode(
    {
        "options": "-c statement_timeout=5s -c lock_timeout=2s -c idle_in_transaction_session_timeout=10min",
    },
    quote_via=quote,
)
_lease: Lease | None = None


def _start() -> None:
    global _lease
    directory = Path(tempfile.mkdtemp(prefix="portal-tests-"))
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    os.environ["PORTAL_DATA_DIR"] = str(directory)
    _lease = Lease(directory, durable=False, remove=True).join()
    urls = _lease.urls
    os.environ["DATABASE_URL"] = os.environ["DATABASE_OWNER_URL"] = f"{urls['DATABASE_OWNER_URL']}&{_PATIENT}"
    os.environ["REDIS_URL"] = urls["REDIS_URL"]
    os.environ["TEST_DATABASE_APP_URL"] = urls["DATABASE_URL"].replace("@/portal?", "@/test_portal?")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _lease is not None:
        _lease.leave()


_start()

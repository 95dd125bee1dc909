"""The ledger's partitions are made by the job, which connects as the application's role and owns no table."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.db import ProgrammingError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from portal import env
from portal.spend.tasks import make_partitions


@pytest.fixture
def application() -> Iterator[BaseDatabaseWrapper]:
    """A connection in the application's role."""
    made = ConnectionHandler({"default": env.database(os.environ["TEST_DATABASE_APP_URL"])})["default"]
    yield made
    made.close()


def partitions() -> list[str]:
    """Return the ledger's partitions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger'::regclass"
        )
        return sorted(row[0] for row in cursor.fetchall())


def test_the_job_makes_what_is_missing_as_the_application(
    clean_state: None, application: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = partitions()
    latest = before[-1]
    assert latest > f"ledger_{datetime.now(UTC):%Y_%m}"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {latest}")
    monkeypatch.setattr("portal.spend.tasks.connection", application)

    make_partitions()
    make_partitions()

    assert partitions() == before
    with application.cursor() as cursor:
        cursor.execute("SELECT current_user, tableowner FROM pg_tables WHERE tablename = %s", [latest])
        assert cursor.fetchone() == ("portal_app", "portal_owner")
        cursor.execute(f"SELECT count(*) FROM {latest}")  # noqa: S608  a name from the catalogue
        assert cursor.fetchone() == (0,)


def test_the_application_makes_no_tables_of_its_own(
    clean_state: None, application: BaseDatabaseWrapper
) -> None:
    with application.cursor() as cursor, pytest.raises(ProgrammingError, match="permission denied"):
        cursor.execute("CREATE TABLE own (id integer)")

"""Fixtures of every test."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test.utils import setup_databases, teardown_databases

from tests import state


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """Make the test database, also when no test says by its mark that it wants one."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases={"default": None})
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@pytest.fixture
def clean_state(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Empty tables and an empty Valkey, for a test whose transactions commit; it leaves nothing behind either."""
    with django_db_blocker.unblock():
        state.reset()
        yield
        state.reset()

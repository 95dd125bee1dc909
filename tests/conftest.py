"""Fixtures of every test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client, override_settings
from django.test.utils import setup_databases, teardown_databases
from playwright.sync_api import expect

from tests import state

# What a page should come to show it may show late on a machine that is busy.
expect.set_options(timeout=30_000)

pytest_plugins = ["tests.identity_fixtures"]


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


@pytest.fixture
def cast(db: None) -> Any:
    """Alice (admin), Bob (owner), Carol (member), Dave (outsider), Erin (auditor) and their projects."""
    from tests import factories  # models are ready by now

    return factories.cast()


@pytest.fixture
def browse() -> Iterator[Callable[[Any], Client]]:
    """Return a browser in which somebody is signed in: ``browse(cast.bob).get("/projects/")``."""
    from tests import factories
    from tests.identity_fixtures import STATIC_FILES

    with override_settings(**STATIC_FILES):
        yield factories.signed_in

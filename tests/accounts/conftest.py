"""The settings every test of accounts has."""

from collections.abc import Iterator

import pytest
from django.test import override_settings

from tests.identity_fixtures import STATIC_FILES


@pytest.fixture(autouse=True)
def static_files() -> Iterator[None]:
    """Serve static files without collecting them."""
    with override_settings(**STATIC_FILES):
        yield

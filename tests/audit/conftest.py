"""The log under test: entries are sealed at once, where otherwise the commit does it."""

import pytest
from django.db import connection

from tests import factories
from tests.factories import Cast


@pytest.fixture
def sealed(db: None) -> Cast:
    """The cast, everything written about it in the chain, and what follows too."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return factories.cast()

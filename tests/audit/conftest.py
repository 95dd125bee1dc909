"""The log under test: entries are sealed at once, where otherwise the commit does it."""

import pytest
from django.db import connection

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record_view
from portal.accounts.actors import person_label
from tests import factories
from tests.factories import Cast


@pytest.fixture
def sealed(db: None) -> Cast:
    """The cast, who have looked at the log this hour; what is written about them in the chain, what follows too."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    cast = factories.cast()
    for person in (cast.alice, cast.bob, cast.carol, cast.dave, cast.erin):
        actor = Actor("user", str(person.pk), person_label(person))
        record_view(Action.AUDIT_VIEWED, actor=actor, target=Target("audit_log", "1", "the audit log"))
    return cast

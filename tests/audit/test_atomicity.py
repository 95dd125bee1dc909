"""A change and its entry are one: neither is there without the other."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.db import DatabaseError
from django.test import Client

from audit.actions import Action
from audit.models import AuditEntry
from portal.accounts.models import Person
from projects.models import Project
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]


@pytest.fixture
def committed(clean_state: None) -> Cast:
    """The cast in transactions that commit."""
    return factories.cast()


def pause(client: Client) -> None:
    client.post("/projects/claims-triage/state/paused/", {"reason": "Holidays", "confirm": "claims-triage"})


def entries() -> int:
    return AuditEntry.objects.filter(action=Action.PROJECT_STATE_CHANGED).count()


def test_a_change_leaves_one_entry(committed: Cast, browse: Browse) -> None:
    pause(browse(committed.bob))
    assert Project.objects.get(code="claims-triage").state == "paused"
    assert entries() == 1


def test_without_its_entry_nothing_changes(committed: Cast, browse: Browse) -> None:
    bob = browse(committed.bob)
    with (
        mock.patch("audit.services.AuditEntry.save", side_effect=DatabaseError("no space left")),
        pytest.raises(DatabaseError),
    ):
        pause(bob)
    assert Project.objects.get(code="claims-triage").state == "active"
    assert entries() == 0


def test_without_the_change_there_is_no_entry(committed: Cast, browse: Browse) -> None:
    bob = browse(committed.bob)
    write = AuditEntry.save

    def write_then_fail(entry: AuditEntry, **how: Any) -> None:
        write(entry, **how)
        raise DatabaseError("the connection was lost")

    with (
        mock.patch("audit.services.AuditEntry.save", write_then_fail),
        pytest.raises(DatabaseError),
    ):
        pause(bob)
    assert Project.objects.get(code="claims-triage").state == "active"
    assert entries() == 0


def test_a_refused_change_is_on_record_though_nothing_was_done(committed: Cast, browse: Browse) -> None:
    pause(browse(committed.carol))
    entry = AuditEntry.objects.get(outcome="refused")
    assert entry.action == Action.ACCESS_REFUSED
    assert entry.actor_id == str(committed.carol.pk)
    assert entries() == 0

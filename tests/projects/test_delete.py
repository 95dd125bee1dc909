"""Only what was never used is deleted; a pause or an archive can be undone from the message that tells of it."""

import re
from collections.abc import Callable

from django.test import Client

from apikeys.services import issue_api_key
from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.spend.models import Limit
from projects.models import Project
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]


def test_an_unused_project_is_deleted_with_its_limits(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    alice.post("/projects/fraud-notes/limits/", {"daily": "5", "each_user": "1"})
    assert "never used" in alice.get("/projects/fraud-notes/delete/").content.decode()
    assert alice.post("/projects/fraud-notes/delete/", {"confirm": "x"}).status_code == 422
    assert alice.post("/projects/fraud-notes/delete/", {"confirm": "fraud-notes"}).status_code == 302
    assert not Project.objects.filter(code="fraud-notes").exists()
    assert not Limit.objects.exists()
    assert AuditEntry.objects.get(action="project.deleted").target_label == "Fraud notes (fraud-notes)"
    assert factories.project("fraud-notes").pk != cast.fraud.pk


def test_a_used_project_is_archived_instead(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    factories.usage(cast.triage, "1")
    issue_api_key(project=cast.triage, name="bot", owner=cast.bob, actor=factories.ACTOR)
    page = alice.get("/projects/claims-triage/delete/").content.decode()
    assert "1 API key issued, usage booked" in page
    answer = alice.post("/projects/claims-triage/delete/", {"confirm": "claims-triage"})
    assert answer.status_code == 422
    assert Project.objects.filter(code="claims-triage").exists()


def test_an_owner_does_not_delete(cast: Cast, browse: Browse) -> None:
    assert browse(cast.bob).post("/projects/claims-triage/delete/", {}).status_code == 403


def test_a_pause_is_undone_from_its_message(cast: Cast, browse: Browse) -> None:
    bob = browse(cast.bob)
    page = bob.post("/projects/claims-triage/state/paused/", follow=True).content.decode()
    undo = re.search(r'action="([^"]+)">.{0,200}?>Undo<', page, re.DOTALL)
    assert undo
    assert undo.group(1) == "/projects/claims-triage/state/active/"
    bob.post(undo.group(1))
    cast.triage.refresh_from_db()
    assert cast.triage.state == "active"

"""One change of many projects: previewed, carried out as shown, with what could not be done."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from audit.models import AuditEntry
from groups.services import create_group
from portal.accounts.models import Person
from portal.spend import scopes
from portal.spend.models import Limit
from projects.services import set_project_state
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]
BOTH = "p=claims-triage&p=fraud-notes"


def shown_plan(page: str) -> str:
    """Return the plan that a preview would carry out."""
    found = re.search(r'name="plan" value="([^"]+)"', page)
    assert found, page
    return found.group(1)


def test_projects_are_paused_as_previewed_with_one_entry_each(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    set_project_state(project=cast.fraud, state="paused", actor=factories.ACTOR)
    AuditEntry.objects.all().count()
    page = alice.get(f"/projects/bulk/?do=pause&{BOTH}").content.decode()
    assert "1 of 2 changes" in page
    assert "It is so already" in page
    answer = alice.post("/projects/bulk/", {"plan": shown_plan(page), "reason": "leak"}, follow=True)
    assert "1 project paused" in answer.content.decode()
    cast.triage.refresh_from_db()
    assert cast.triage.state == "paused"
    entries = AuditEntry.objects.filter(action="project.state_changed", comment="leak")
    assert [entry.project_id for entry in entries] == [cast.triage.pk]


def test_a_project_changed_meanwhile_is_left_alone_and_named(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    page = alice.get(f"/projects/bulk/?do=limits&daily=100&monthly=2,000&preview=1&{BOTH}").content.decode()
    assert "$100 a day, $2,000 a month" in page
    plan = shown_plan(page)
    alice.post("/projects/fraud-notes/limits/", {"daily": "7"})
    answer = alice.post("/projects/bulk/", {"plan": plan})
    result = answer.content.decode()
    assert "1 project given the limits" in result
    assert "Somebody else changed it meanwhile" in result
    amounts = dict(Limit.objects.filter(window="day").values_list("scope_key", "amount"))
    assert amounts == {scopes.project(cast.triage.pk): 100 * 10**9, scopes.project(cast.fraud.pk): 7 * 10**9}


def test_projects_are_moved_to_a_group(cast: Cast, browse: Browse) -> None:
    group = create_group(code="fraud", name="Fraud", actor=factories.ACTOR)
    alice = browse(cast.alice)
    page = alice.get(f"/projects/bulk/?do=move&to=fraud&{BOTH}").content.decode()
    alice.post("/projects/bulk/", {"plan": shown_plan(page)})
    cast.triage.refresh_from_db()
    cast.fraud.refresh_from_db()
    assert (cast.triage.group, cast.fraud.group) == (group, group)


def test_all_that_match_the_filter_are_selected(cast: Cast, browse: Browse) -> None:
    for number in range(3):
        factories.project(f"pilot-{number}", tags=["pilot"])
    alice = browse(cast.alice)
    page = alice.get("/projects/bulk/?do=pause&tag=pilot&p=pilot-0").content.decode()
    assert "Select all 3 that match" in page
    page = alice.get("/projects/bulk/?do=pause&tag=pilot&p=pilot-0&all=1").content.decode()
    assert "3 of 3 change" in page
    assert "Claims triage" not in page


def test_an_owner_changes_only_their_own_and_lowers_only(cast: Cast, browse: Browse) -> None:
    alice, bob = browse(cast.alice), browse(cast.bob)
    alice.post("/projects/claims-triage/limits/", {"daily": "50"})
    page = bob.get(f"/projects/bulk/?do=pause&{BOTH}").content.decode()
    assert "fraud-notes" not in page
    page = bob.get(f"/projects/bulk/?do=limits&daily=100&{BOTH}").content.decode()
    assert "Stays. To raise it, ask for a raise." in page
    assert 'name="plan"' not in page
    plan = shown_plan(bob.get(f"/projects/bulk/?do=limits&daily=40&{BOTH}").content.decode())
    assert bob.post("/projects/bulk/", {"plan": plan}).status_code == 302
    assert bob.get(f"/projects/bulk/?do=move&to=claims&{BOTH}").status_code == 403


@pytest.mark.parametrize("who", ["bob", "carol"])
def test_the_preview_of_somebody_else_is_worth_nothing(who: str, cast: Cast, browse: Browse) -> None:
    plan = shown_plan(browse(cast.alice).get(f"/projects/bulk/?do=pause&{BOTH}").content.decode())
    assert browse(getattr(cast, who)).post("/projects/bulk/", {"plan": plan}).status_code == 403
    assert browse(cast.alice).post("/projects/bulk/", {"plan": "forged"}).status_code == 400


def test_too_many_at_once_are_told(cast: Cast, browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projects.views.bulk.MOST", 1)
    page = browse(cast.alice).get(f"/projects/bulk/?do=pause&{BOTH}").content.decode()
    assert "2 projects are too many for one change" in page
    assert 'name="plan"' not in page

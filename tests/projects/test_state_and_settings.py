"""Settings, and pausing, archiving, restoring."""

from collections.abc import Callable

from django.test import Client

from portal.accounts.models import Person
from portal.decision.models import Subject
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]


def test_an_owner_pauses_and_resumes(cast: Cast, browse: Browse) -> None:
    bob = browse(cast.bob)
    assert bob.post("/projects/claims-triage/state/paused/", {"reason": "leak"}).status_code == 302
    cast.triage.refresh_from_db()
    assert cast.triage.state == "paused"
    assert Subject.objects.get(pk=f"p:{cast.triage.pk}").data["state"] == "paused"
    bob.post("/projects/claims-triage/state/active/")
    cast.triage.refresh_from_db()
    assert cast.triage.state == "active"


def test_archiving_needs_the_code(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    page = alice.get("/projects/claims-triage/state/archived/").content.decode()
    assert "What stops working" in page
    assert alice.post("/projects/claims-triage/state/archived/", {"confirm": "no"}).status_code == 422
    cast.triage.refresh_from_db()
    assert cast.triage.state == "active"
    alice.post("/projects/claims-triage/state/archived/", {"confirm": "claims-triage"})
    cast.triage.refresh_from_db()
    assert cast.triage.state == "archived"
    assert alice.get("/projects/claims-triage/state/nonsense/").status_code == 404


def test_a_member_changes_nothing(cast: Cast, browse: Browse) -> None:
    carol = browse(cast.carol)
    assert carol.post("/projects/claims-triage/state/paused/").status_code == 403
    assert carol.post("/projects/claims-triage/settings/", {"name": "Mine"}).status_code == 403
    assert browse(cast.dave).post("/projects/claims-triage/state/paused/").status_code == 404


def test_an_owner_changes_the_words_and_nothing_that_governs(cast: Cast, browse: Browse) -> None:
    factories.priced("gpt-5-mini")
    data = {
        "name": "Claims sorting",
        "description": "Sorts claims",
        "group": "",
        "cost_centre": "40",
        "allowed_models": "gpt-5-mini",
    }
    assert browse(cast.bob).post("/projects/claims-triage/settings/", data).status_code == 302
    cast.triage.refresh_from_db()
    assert (cast.triage.name, cast.triage.description) == ("Claims sorting", "Sorts claims")
    assert (cast.triage.group, cast.triage.cost_centre, cast.triage.allowed_models) == (cast.claims, "", None)
    browse(cast.alice).post("/projects/claims-triage/settings/", data)
    cast.triage.refresh_from_db()
    assert (cast.triage.group, cast.triage.cost_centre, cast.triage.allowed_models) == (
        None,
        "40",
        ["gpt-5-mini"],
    )

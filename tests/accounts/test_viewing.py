"""Look at the portal as somebody else sees it: read only, for minutes, and the log names who looked."""

import time
from collections.abc import Callable

import pytest
from django.test import Client

from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.accounts.viewing import LASTS, VIEWED
from projects.models import Membership
from tests.factories import Cast, person, signed_in

Browse = Callable[[Person], Client]


def look_as(client: Client, whom: Person, reason: str = "ticket 42") -> int:
    """Begin to look as somebody and return the status."""
    return client.post(f"/accounts/people/{whom.pk}/view/", {"reason": reason}).status_code


@pytest.fixture
def alice(cast: Cast) -> Client:
    """An administrator who looks as Bob, the owner of Claims triage."""
    client = signed_in(cast.alice)
    assert look_as(client, cast.bob) == 302
    return client


def test_pages_show_what_the_other_person_sees(cast: Cast, alice: Client) -> None:
    page = alice.get("/projects/").content.decode()
    assert "You look as Bob Owner." in page
    assert "Everything is logged under Alice Admin" in page
    assert "Claims triage" in page
    assert "Fraud notes" not in page
    assert alice.get("/projects/fraud-notes/").status_code == 404
    assert alice.get("/accounts/people/").status_code == 403
    assert "Bob Owner" in alice.get("/accounts/me/").content.decode()


def test_nothing_is_changed_or_taken_out_meanwhile(cast: Cast, alice: Client) -> None:
    before = cast.triage.name
    attempts = [
        alice.post("/projects/claims-triage/settings/", {"name": "Mine"}),
        alice.post(f"/projects/claims-triage/members/{cast.carol.pk}/remove/"),
        alice.post(
            f"/projects/claims-triage/members/{cast.carol.pk}/remove/", headers={"HX-Request": "true"}
        ),
        alice.put("/projects/claims-triage/settings/"),
        alice.delete("/projects/claims-triage/"),
        alice.get("/projects/export/"),
        alice.get("/accounts/confirm/?kind=export&next=/projects/"),
        alice.post(f"/accounts/people/{cast.carol.pk}/view/", {"reason": "more"}),
    ]
    assert {answer.status_code for answer in attempts} == {403}
    cast.triage.refresh_from_db()
    assert cast.triage.name == before
    assert Membership.objects.filter(project=cast.triage, person=cast.carol).exists()
    refused = AuditEntry.objects.filter(action="access.refused")
    assert set(refused.values_list("actor_id", flat=True)) == {str(cast.alice.pk)}
    assert refused.count() == len(attempts)


def test_the_log_names_who_looked_and_as_whom(cast: Cast, alice: Client) -> None:
    alice.get("/projects/claims-triage/")
    alice.get("/projects/claims-triage/", headers={"HX-Request": "true"})
    alice.post("/accounts/me/stop-viewing/")
    entries = AuditEntry.objects.filter(actor_id=str(cast.alice.pk)).order_by("recorded")
    told = [(entry.action, entry.target_label, entry.comment) for entry in entries]
    bob = "Bob Owner <bob@northgate.example>"
    assert told == [
        ("viewing.started", bob, "ticket 42"),
        ("page.viewed", "/projects/claims-triage/", ""),
        ("viewing.ended", bob, ""),
    ]
    looked = entries.get(action="page.viewed")
    assert looked.actor_display == "Alice Admin as Bob Owner <alice@northgate.example>"
    assert not AuditEntry.objects.filter(actor_id=str(cast.bob.pk)).exists()


def test_it_ends_by_a_button_and_by_time(cast: Cast, alice: Client) -> None:
    assert alice.post("/accounts/me/stop-viewing/")["Location"] == f"/accounts/people/{cast.bob.pk}/"
    assert "You look as" not in alice.get("/accounts/people/").content.decode()
    assert look_as(alice, cast.bob) == 302
    session = alice.session
    pk, until = session[VIEWED]
    assert time.time() + LASTS - 60 < until <= time.time() + LASTS
    session[VIEWED] = [pk, int(time.time())]
    session.save()
    late = alice.post(f"/projects/claims-triage/members/{cast.carol.pk}/remove/")
    assert late.status_code == 403, "what was sent from a page of another is not done as oneself"
    assert Membership.objects.filter(project=cast.triage, person=cast.carol).exists()
    assert alice.get("/accounts/people/").status_code == 200
    assert AuditEntry.objects.filter(action="viewing.ended").count() == 2


def test_it_ends_with_the_role_of_who_looks_and_with_the_access_of_the_other(
    cast: Cast, alice: Client
) -> None:
    Person.objects.filter(pk=cast.bob.pk).update(is_active=False)
    assert "You look as" not in alice.get("/accounts/people/").content.decode()
    Person.objects.filter(pk=cast.bob.pk).update(is_active=True)
    assert look_as(alice, cast.bob) == 302
    cast.alice.role_grants.update(role="operator")
    assert alice.get("/projects/fraud-notes/").status_code == 200, "as an operator, and as nobody else"
    assert VIEWED not in alice.session


def test_only_administrators_look_with_a_reason_and_at_somebody_with_access(
    cast: Cast, browse: Browse
) -> None:
    for who, status in ((cast.erin, 403), (cast.bob, 403), (cast.dave, 403)):
        assert look_as(browse(who), cast.carol) == status
    alice = browse(cast.alice)
    nobody, gone = person("Nobody Without"), person("Gone Away", is_active=False)
    assert look_as(alice, cast.bob, reason=" ") == 422
    for whom in (cast.alice, nobody, gone):
        assert look_as(alice, whom) == 422
    assert look_as(signed_in(cast.alice, has_confirmed=False), cast.bob) == 302
    assert not AuditEntry.objects.filter(action="viewing.started").exists(), (
        "a fresh sign-in is asked for first"
    )

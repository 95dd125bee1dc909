"""People and groups of a project."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from groups.services import set_members
from portal.accounts.graph import DirectoryPerson
from portal.accounts.models import Person
from portal.accounts.pickers import PersonPicker
from portal.decision.models import Subject
from projects.models import Membership
from projects.services import admit_group
from tests import factories
from tests.factories import Cast
from tokens.services import issue_token

Browse = Callable[[Person], Client]


@pytest.fixture
def mei(monkeypatch: pytest.MonkeyPatch, settings: Any) -> DirectoryPerson:
    """Somebody the directory knows and the portal does not."""
    settings.ENTRA_TENANT_ID = str(factories.TENANT)
    found = DirectoryPerson(uuid.uuid4(), "Mei Tan", "mei.tan@northgate.example")
    monkeypatch.setattr(
        PersonPicker, "look_up", staticmethod(lambda oid: found if oid == found.oid else None)
    )
    monkeypatch.setattr(PersonPicker, "search", staticmethod(lambda text: []))
    return found


def test_an_owner_adds_a_member_found_in_the_directory(
    cast: Cast, browse: Browse, mei: DirectoryPerson
) -> None:
    answer = browse(cast.bob).post(
        "/projects/claims-triage/members/add/", {"people": str(mei.oid), "role": "owner"}
    )
    assert answer.status_code == 302
    membership = Membership.objects.get(project=cast.triage, person__oid=mei.oid)
    assert membership.role == "member", "an owner does not make owners"
    browse(cast.alice).post("/projects/claims-triage/members/add/", {"people": str(mei.oid), "role": "owner"})
    membership.refresh_from_db()
    assert membership.role == "owner"


def test_somebody_unknown_to_the_directory_is_refused(
    cast: Cast, browse: Browse, mei: DirectoryPerson
) -> None:
    data = {"people": str(uuid.uuid4())}
    assert browse(cast.bob).post("/projects/claims-triage/members/add/", data).status_code == 422


def test_removing_a_member_stops_their_tokens(cast: Cast, browse: Browse) -> None:
    token, _ = issue_token(project=cast.triage, person=cast.carol, actor=factories.ACTOR)
    path = f"/projects/claims-triage/members/{cast.carol.pk}/remove/"
    assert "1 user token of Carol Member" in browse(cast.bob).get(path).content.decode()
    answer = browse(cast.bob).post(path, headers={"HX-Request": "true"})
    assert answer.status_code == 204
    assert "member-table" in answer["HX-Trigger"]
    assert not Subject.objects.get(pk=f"s:{token.key_id}").data["is_member"]


def test_an_owner_is_removed_by_those_who_govern_and_never_the_last(cast: Cast, browse: Browse) -> None:
    path = f"/projects/claims-triage/members/{cast.bob.pk}/remove/"
    assert browse(cast.bob).post(path).status_code == 403
    answer = browse(cast.alice).post(path)
    assert answer.status_code == 422
    assert "the only owner" in answer.content.decode()


def test_people_of_other_projects_cannot_be_removed_here(cast: Cast, browse: Browse) -> None:
    path = f"/projects/claims-triage/members/{cast.dave.pk}/remove/"
    assert browse(cast.bob).post(path).status_code == 404
    assert Membership.objects.filter(project=cast.fraud, person=cast.dave).exists()


def test_a_group_gets_access_and_loses_it(cast: Cast, browse: Browse) -> None:
    zoe = factories.person("Zoe Claims")
    set_members(group=cast.claims, people=[zoe], actor=factories.ACTOR)
    alice, page = browse(cast.alice), "/projects/claims-triage/groups/"
    assert alice.post(f"{page}add/", {"group": cast.claims.pk}).status_code == 302
    token, _ = issue_token(project=cast.triage, person=zoe, actor=factories.ACTOR)
    assert token.group == cast.claims
    assert alice.post(f"{page}claims/remove/").status_code == 302
    assert not Subject.objects.get(pk=f"s:{token.key_id}").data["is_member"]


def test_an_owner_can_offer_no_group_they_may_not_see(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.bob).post("/projects/claims-triage/groups/add/", {"group": cast.claims.pk})
    assert answer.status_code == 422
    assert not cast.triage.group_access.exists()


def test_leaving_the_group_stops_tokens_that_came_with_it(cast: Cast) -> None:
    zoe = factories.person("Zoe Claims")
    set_members(group=cast.claims, people=[zoe], actor=factories.ACTOR)
    admit_group(project=cast.triage, group=cast.claims, actor=factories.ACTOR)
    token, _ = issue_token(project=cast.triage, person=zoe, actor=factories.ACTOR)
    subject = Subject.objects.get(pk=f"s:{token.key_id}")
    assert subject.data["is_member"]
    set_members(group=cast.claims, people=[], actor=factories.ACTOR)
    subject.refresh_from_db()
    assert not subject.data["is_member"]
    set_members(group=cast.claims, people=[zoe], actor=factories.ACTOR)
    subject.refresh_from_db()
    assert subject.data["is_member"]

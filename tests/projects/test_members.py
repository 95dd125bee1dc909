"""People and groups of a project."""

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.test import Client

from audit.models import AuditEntry
from groups.services import set_members
from portal.accounts.graph import DirectoryPerson
from portal.accounts.models import Person
from portal.accounts.pickers import PersonPicker
from portal.decision.models import Subject
from portal.lib.errors import RuleBroken
from projects.models import Membership, Project
from projects.roles import change_role
from projects.services import admit_group, remove_member
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


def role_of(who: Person, where: Project) -> str:
    """Return what somebody is in a project."""
    return Membership.objects.get(project=where, person=who).role


def test_a_member_becomes_an_owner_and_it_is_undone(cast: Cast, browse: Browse) -> None:
    alice, there = browse(cast.alice), f"/projects/claims-triage/members/{cast.carol.pk}/role/"
    listed = alice.get("/projects/claims-triage/members/").content.decode()
    assert f'href="{there}owner/"' in listed
    assert "Owners manage" in alice.get(f"{there}owner/").content.decode()
    answer = alice.post(f"{there}owner/", {"reason": "takes over"}, follow=True)
    assert "Carol Member owns Claims triage now" in answer.content.decode()
    assert f'action="{there}member/"' in answer.content.decode()
    assert role_of(cast.carol, cast.triage) == "owner"
    assert alice.post(f"{there}member/").status_code == 302
    assert role_of(cast.carol, cast.triage) == "member"
    entries = AuditEntry.objects.filter(action="member.changed").order_by("recorded")
    assert [entry.changes["Carol Member"] for entry in entries] == [["member", "owner"], ["owner", "member"]]
    assert entries[0].comment == "takes over"


def test_an_owner_changes_nobody_s_role(cast: Cast, browse: Browse) -> None:
    bob, there = browse(cast.bob), "/projects/claims-triage/members/"
    for who, role in ((cast.carol, "owner"), (cast.bob, "member")):
        assert bob.post(f"{there}{who.pk}/role/{role}/").status_code == 403
    assert "/role/" not in bob.get(there).content.decode()
    assert browse(cast.alice).post(f"{there}{cast.carol.pk}/role/king/").status_code == 404


def test_adding_somebody_again_takes_no_ownership(cast: Cast, browse: Browse, mei: DirectoryPerson) -> None:
    person = factories.person("Mei Tan", tid=factories.TENANT)
    Person.objects.filter(pk=person.pk).update(oid=mei.oid)
    Membership.objects.create(project=cast.triage, person=person, role="owner")
    there = "/projects/claims-triage/members/add/"
    assert browse(cast.bob).post(there, {"people": str(mei.oid)}).status_code == 302
    assert role_of(person, cast.triage) == "owner"


def test_the_only_owner_stays_owner_also_by_command(cast: Cast, browse: Browse) -> None:
    there = f"/projects/claims-triage/members/{cast.bob.pk}/role/member/"
    answer = browse(cast.alice).post(there)
    assert answer.status_code == 422
    assert "the only owner" in answer.content.decode()
    with pytest.raises(CommandError, match="the only owner"):
        call_command("add_member", "--project", "claims-triage", "--email", cast.bob.email)
    call_command("add_member", "--project", "claims-triage", "--email", cast.carol.email, "--role", "owner")
    assert browse(cast.alice).post(there).status_code == 302
    assert role_of(cast.bob, cast.triage) == "member"


def test_who_audits_or_is_disabled_does_not_become_an_owner(cast: Cast, browse: Browse) -> None:
    gone = factories.person("Gone Away", is_active=False)
    for who in (cast.erin, gone):
        Membership.objects.create(project=cast.triage, person=who, role="member")
        there = f"/projects/claims-triage/members/{who.pk}/role/owner/"
        assert browse(cast.alice).post(there).status_code == 422
        assert role_of(who, cast.triage) == "member"


@pytest.mark.parametrize("how", ["change", "remove"])
def test_of_the_last_two_owners_who_go_at_once_one_stays(clean_state: None, how: str) -> None:
    owners = [factories.person("Bob Owner"), factories.person("Olga Owner")]
    where = factories.project("twice", owners=owners)
    barrier, outcomes = threading.Barrier(2), []

    def go(who: Person) -> None:
        barrier.wait(10)
        try:
            if how == "change":
                change_role(project=where, person=who, role="member", actor=factories.ACTOR)
            else:
                remove_member(project=where, person=who, actor=factories.ACTOR)
            outcomes.append("went")
        except RuleBroken:
            outcomes.append("stayed")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=go, args=(who,)) for who in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["stayed", "went"]
    assert Membership.objects.filter(project=where, role="owner").count() == 1

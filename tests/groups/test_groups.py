"""Groups: new ones, their limits, their members, their end."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from audit.actors import Actor
from audit.models import AuditEntry
from groups.lookup import look_up
from groups.models import Group, GroupMember
from groups.selectors import linked_groups
from groups.services import create_group
from portal.accounts import graph
from portal.accounts.graph import DirectoryPerson, DirectoryUnavailable
from portal.accounts.models import Person
from portal.spend import scopes
from portal.spend.models import Limit
from projects.services import admit_group, update_project
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]


def look_up_members() -> None:
    """Read the members of every linked group, as the synchronization does."""
    for group in linked_groups():
        look_up(group, actor=Actor.job("look_up_members"))


def test_an_administrator_names_a_group_by_hand(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.alice).post("/groups/new/", {"name": "Data & analytics"})
    assert answer["Location"] == "/groups/data-analytics/"
    assert browse(cast.alice).post("/groups/new/", {"name": "Claims"}).status_code == 422
    assert browse(cast.alice).post("/groups/new/", {}).status_code == 422
    assert browse(cast.bob).post("/groups/new/", {"name": "Mine"}).status_code == 403


def test_limits_of_a_group_are_set_on_its_page(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    seen = alice.get("/groups/claims/").context["form"]["seen"].value()
    answer = alice.post("/groups/claims/", {"monthly": "10,000", "requests": "1200", "seen": seen})
    assert answer.status_code == 302
    rows = Limit.objects.filter(scope_key=scopes.group(cast.claims.pk)).values_list("metric", "amount")
    assert dict(rows) == {"spend": 10_000 * 10**9, "requests": 1200}
    assert browse(cast.erin).post("/groups/claims/", {"monthly": "1"}).status_code == 403


def test_a_group_that_owns_projects_stays_and_says_what_to_do(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    page = alice.get("/groups/claims/delete/").content.decode()
    assert "owns 1 project" in page
    assert "/projects/claims-triage/settings/" in page
    assert alice.post("/groups/claims/delete/", {"confirm": "claims"}).status_code == 422
    assert Group.objects.current().filter(code="claims").exists()


def test_a_group_is_deleted_when_its_code_is_typed(cast: Cast, browse: Browse) -> None:
    update_project(project=cast.triage, group=None, actor=factories.ACTOR)
    admit_group(project=cast.fraud, group=cast.claims, actor=factories.ACTOR)
    alice = browse(cast.alice)
    assert "Fraud notes" in alice.get("/groups/claims/delete/").content.decode()
    assert alice.post("/groups/claims/delete/", {"confirm": "Claims"}).status_code == 422
    assert alice.post("/groups/claims/delete/", {"confirm": "claims"}).status_code == 302
    assert not Group.objects.current().filter(code="claims").exists()
    assert not cast.fraud.group_access.exists()
    assert alice.get("/groups/claims/").status_code == 404


def test_a_group_administrator_reaches_their_groups_only(cast: Cast, browse: Browse) -> None:
    create_group(code="marketing", name="Marketing", actor=factories.ACTOR)
    gina = browse(factories.person("Gina Group", role="group_admin", group=cast.claims))
    assert [row.code for row in gina.get("/groups/").context["page"].rows] == ["claims"]
    assert gina.get("/groups/claims/").status_code == 200
    assert gina.get("/groups/marketing/").status_code == 404
    assert gina.post("/groups/claims/delete/", {"confirm": "claims"}).status_code == 403
    assert gina.get("/projects/claims-triage/limits/").status_code == 200
    assert gina.get("/projects/fraud-notes/").status_code == 404


@pytest.fixture
def linked(cast: Cast, settings: Any) -> Group:
    """The group Claims, linked to Entra ID."""
    settings.ENTRA_TENANT_ID = str(factories.TENANT)
    cast.claims.entra_id = uuid.uuid4()
    cast.claims.save()
    return cast.claims


def members(group: Group) -> set[str]:
    """Return the names of the group's members."""
    return set(GroupMember.objects.filter(group=group).values_list("person__name", flat=True))


def test_the_job_reads_members_and_makes_people_the_portal_does_not_know(
    cast: Cast, linked: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cast.carol.oid
    listed = [
        DirectoryPerson(cast.carol.oid, "Carol Member", cast.carol.email),
        DirectoryPerson(uuid.uuid4(), "Zoe New", "zoe@northgate.example"),
        DirectoryPerson(uuid.uuid4(), "Gone Away", "gone@northgate.example", is_enabled=False),
    ]
    monkeypatch.setattr(graph, "members_of_group", lambda oid: iter(listed))
    look_up_members()
    assert members(linked) == {"Carol Member", "Zoe New"}
    zoe = Person.objects.get(name="Zoe New")
    assert (zoe.tid, zoe.oid) == (factories.TENANT, listed[1].oid)
    entry = AuditEntry.objects.get(action="group.members_changed")
    assert (entry.actor_id, entry.changes["joined"]) == (
        "job:look_up_members",
        [None, ["Carol Member", "Zoe New"]],
    )
    look_up_members()
    assert AuditEntry.objects.filter(action="group.members_changed").count() == 1
    listed.pop(0)
    look_up_members()
    assert members(linked) == {"Zoe New"}


def test_a_group_that_vanished_is_flagged_and_keeps_its_members(
    cast: Cast, linked: Group, monkeypatch: pytest.MonkeyPatch, browse: Browse
) -> None:
    GroupMember.objects.create(group=linked, person=cast.carol)

    def gone(oid: object) -> Any:
        raise LookupError

    monkeypatch.setattr(graph, "members_of_group", gone)
    look_up_members()
    linked.refresh_from_db()
    assert linked.is_missing
    assert members(linked) == {"Carol Member"}
    assert "Not in Entra ID" in browse(cast.alice).get("/groups/").content.decode()


def test_without_the_directory_nothing_changes(
    cast: Cast, linked: Group, monkeypatch: pytest.MonkeyPatch, browse: Browse
) -> None:
    GroupMember.objects.create(group=linked, person=cast.carol)

    def away(oid: object) -> Any:
        raise DirectoryUnavailable("Microsoft Graph does not answer.")

    monkeypatch.setattr(graph, "members_of_group", away)
    with pytest.raises(DirectoryUnavailable):
        look_up_members()
    assert members(linked) == {"Carol Member"}
    answer = browse(cast.alice).post("/groups/claims/look-up/", follow=True)
    assert "Microsoft Graph does not answer." in answer.content.decode()

"""Groups of Entra ID: who is in them, what goes when they change, and which have vanished."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import AuditEntry
from groups.models import Group, GroupMember
from groups.services import create_group
from portal.accounts import graph
from portal.accounts.models import Person
from portal.decision.models import Subject
from portal.directory import services
from portal.directory.models import DirectoryState, WatchedGroup
from portal.notifications.models import Message
from projects.models import Project
from projects.services import admit_group, create_project
from tests import factories
from tests.directory.conftest import run, token_of
from tests.identity_fixtures import StandIn, known

ACTOR = factories.ACTOR


@pytest.fixture
def claims(standin: StandIn, db: None) -> Group:
    """The group Claims, tied to Entra ID's."""
    return create_group(
        code="claims", name="Claims", entra_id=uuid.UUID(standin.group("claims")), actor=ACTOR
    )


def members(group: Group) -> set[str]:
    return set(group.members.values_list("person__name", flat=True))


def test_groups_are_read_when_they_or_a_group_inside_changes(
    standin: StandIn, carol: Person, claims: Group
) -> None:
    everybody = create_group(
        code="all", name="All", entra_id=uuid.UUID(standin.group("all-staff")), actor=ACTOR
    )
    assert run()["groups"] == 2
    assert "Carol Jensen" in members(claims) & members(everybody)
    assert run()["groups"] == 0
    standin.change("carol", groups=["legal"])

    answer = run()

    assert (answer["groups"], answer["groups_changed"]) == (2, 1)
    assert "Carol Jensen" not in members(claims)
    assert "Carol Jensen" in members(everybody)
    standin.control("PATCH", "groups/claims", nested=["legal"])
    run()
    assert "Carol Jensen" in members(claims)


def test_disabled_member_stays_in_the_group(standin: StandIn, carol: Person, claims: Group) -> None:
    run()
    standin.change("carol", enabled=False)
    GroupMember.objects.filter(group=claims, person__name="Mei Tan").delete()
    WatchedGroup.objects.update(read=timezone.now() - timedelta(days=2))

    run()

    assert {"Carol Jensen", "Mei Tan"} <= members(claims)


def test_group_that_vanishes_is_flagged_told_and_kept(standin: StandIn, carol: Person, claims: Group) -> None:
    alice = known(standin, "alice")
    alice.role_grants.create(role="admin", source="portal")
    run()
    standin.control("DELETE", "groups/claims")

    assert run()["groups_missing"] == 1

    claims.refresh_from_db()
    assert claims.is_missing
    assert "Carol Jensen" in members(claims)
    assert run()["groups_missing"] == 0
    message = Message.objects.get()
    assert "The group Claims is gone from Entra ID" in message.title
    assert list(message.deliveries.values_list("person", flat=True)) == [alice.pk]


def test_somebody_who_loses_all_groups_loses_all_memberships(
    standin: StandIn, carol: Person, project: Project, claims: Group
) -> None:
    other = create_project(code="other", name="Other", owners=[carol], actor=ACTOR)
    admit_group(project=project, group=claims, actor=ACTOR)
    token = token_of(carol, project)
    run()
    standin.change("carol", groups=[])

    answer = run()

    assert answer["memberships_ended"] == 2
    assert not carol.memberships.exists()
    assert not other.memberships.exists()
    assert Subject.objects.get(pk=f"s:{token.key_id}").data["is_member"] is False
    removed = AuditEntry.objects.filter(action="member.removed")
    assert {entry.comment for entry in removed} == {
        "The person belongs to no group of the directory any more."
    }


def test_somebody_who_changes_groups_keeps_what_was_given_to_them_directly(
    standin: StandIn, carol: Person, project: Project, claims: Group
) -> None:
    admitted = create_project(code="other", name="Other", actor=ACTOR)
    admit_group(project=admitted, group=claims, actor=ACTOR)
    run()
    token = token_of(carol, admitted)
    standin.change("carol", groups=["legal"])

    run()

    assert list(carol.memberships.values_list("project__code", flat=True)) == ["claims"]
    assert Subject.objects.get(pk=f"s:{token.key_id}").data["is_member"] is False


def test_losing_all_groups_is_not_forgotten_when_graph_fails_in_between(
    standin: StandIn, carol: Person, project: Project, claims: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    standin.change("carol", groups=[])

    def away(*args: object, **more: object) -> list[str]:
        raise graph.DirectoryUnavailable("Microsoft Graph does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(services, "end_memberships_without_group", away)
        run(expected=1)
    assert carol.memberships.exists()

    run()

    assert not carol.memberships.exists()
    assert DirectoryState.objects.get().to_check == []

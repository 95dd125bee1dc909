"""The list of groups, its exports, settings, administrators and what has to happen before a group goes."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEntry
from groups.models import Group, GroupMember
from groups.services import create_group, set_members
from portal.accounts import graph
from portal.accounts.graph import DirectoryGroup, DirectoryPerson
from portal.accounts.models import Person, RoleGrant
from portal.decision.models import Subject
from projects.services import admit_group
from tests import factories
from tests.factories import ACTOR, Cast
from tokens.services import issue_token

Browse = Callable[[Person], Client]


def codes(client: Client, query: str = "") -> list[str]:
    """Return the codes that the list shows, in its order."""
    return [row.code for row in client.get(f"/groups/{query}").context["page"].rows]


def seen_on(page: str) -> str:
    """Return what a page says it was drawn from."""
    found = re.search(r'name="seen" value="([^"]+)"', page)
    assert found
    return found.group(1)


def test_groups_are_sorted_by_what_is_shown(cast: Cast, browse: Browse) -> None:
    sales = create_group(code="sales", name="Sales", actor=ACTOR)
    made = factories.project("sales-chat", group=sales)
    factories.project("sales-notes", group=sales)
    factories.usage(cast.triage, "5", is_moved=True)
    factories.usage(made, "2", is_moved=True)
    set_members(group=cast.claims, people=[cast.dave], actor=ACTOR)
    alice = browse(cast.alice)
    assert (
        codes(alice) == codes(alice, "?sort=-today") == codes(alice, "?sort=-members") == ["claims", "sales"]
    )
    assert codes(alice, "?sort=-projects") == codes(alice, "?sort=-name") == ["sales", "claims"]
    assert codes(alice, "?q=SAL") == ["sales"]
    assert codes(alice, "?state=linked") == []
    above = alice.get("/groups/").context["figures"]
    assert (above.total, above.missing, above.month) == (2, 0, 7 * 10**9)


def test_more_groups_cost_no_more_queries(cast: Cast, browse: Browse) -> None:
    alice, counts = browse(cast.alice), []
    for start in (0, 5):
        for number in range(start, start + 5):
            factories.project(
                f"p-{number}", group=create_group(code=f"g-{number}", name=f"G {number}", actor=ACTOR)
            )
        with CaptureQueriesContext(connection) as queries:
            alice.get("/groups/?sort=-projects")
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 20


def test_groups_and_members_are_exported_and_that_is_written_down(cast: Cast, browse: Browse) -> None:
    set_members(group=cast.claims, people=[cast.dave], actor=ACTOR)
    erin = browse(cast.erin)
    lists = []
    for path in ("/groups/export/?q=claims", "/groups/claims/members/export/"):
        answer = erin.get(path)
        lists.append(b"".join(answer.streaming_content).decode("utf-8-sig").splitlines())  # type: ignore[attr-defined]
    assert lists[0][1].startswith("claims,Claims,1,1,0,,0,")
    assert lists[1] == ["Name,Address,Active", "Dave Outsider,dave@northgate.example,True"]
    entries = AuditEntry.objects.filter(action="list.exported").order_by("id")
    assert [entry.target_label for entry in entries] == ["groups", "group members"]


def test_name_and_code_change_and_the_later_save_is_refused(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    seen = seen_on(alice.get("/groups/claims/settings/").content.decode())
    answer = alice.post(
        "/groups/claims/settings/", {"name": "Claims Europe", "code": "claims-eu", "seen": seen}
    )
    assert answer["Location"] == "/groups/claims-eu/settings/"
    late = alice.post("/groups/claims-eu/settings/", {"name": "Claims UK", "code": "claims", "seen": seen})
    assert late.status_code == 422
    assert "now “Claims Europe”. You entered “Claims UK”." in late.content.decode()
    assert Group.objects.get(pk=cast.claims.pk).name == "Claims Europe"
    assert browse(cast.erin).post("/groups/claims-eu/settings/", {"name": "x"}).status_code == 403


def test_another_link_takes_the_members_of_the_first_out(
    cast: Cast, browse: Browse, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    admit_group(project=cast.triage, group=cast.claims, actor=ACTOR)
    set_members(group=cast.claims, people=[cast.dave], actor=ACTOR)
    token, _ = issue_token(project=cast.triage, person=cast.dave, actor=ACTOR)
    settings.ENTRA_TENANT_ID = str(factories.TENANT)
    other = DirectoryGroup(uuid.uuid4(), "Claims of Entra")
    monkeypatch.setattr(graph, "group", lambda oid: other)
    monkeypatch.setattr(graph, "members_of_group", lambda oid: [])
    data = {"name": "Claims", "code": "claims", "entra": str(other.oid)}
    assert browse(cast.alice).post("/groups/claims/settings/", data).status_code == 302
    cast.claims.refresh_from_db()
    assert cast.claims.entra_id == other.oid
    assert not GroupMember.objects.exists()
    assert Subject.objects.get(pk=f"s:{token.key_id}").data["is_member"] is False

    data = {"name": "Claims", "code": "claims", "unlink": "on"}
    assert browse(cast.alice).post("/groups/claims/settings/", data).status_code == 302
    cast.claims.refresh_from_db()
    assert cast.claims.entra_id is None


def test_administrators_of_a_group_come_and_go(
    cast: Cast, browse: Browse, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    assert cast.dave.oid
    found = DirectoryPerson(cast.dave.oid, cast.dave.name, cast.dave.email)
    monkeypatch.setattr(graph, "person", lambda oid: found)
    monkeypatch.setattr(
        "portal.accounts.services.microsoft", type("M", (), {"tenant_id": str(cast.dave.tid)})
    )
    alice = browse(cast.alice)
    answer = alice.post(
        "/groups/claims/administrators/add/", {"person": str(cast.dave.oid), "reason": "new lead"}
    )
    assert answer.status_code == 302
    assert "Dave Outsider" in alice.get("/groups/claims/settings/").content.decode()
    assert browse(cast.dave).get("/projects/claims-triage/").status_code == 200
    assert alice.post(f"/groups/claims/administrators/{cast.dave.pk}/remove/").status_code == 302
    assert not RoleGrant.objects.filter(person=cast.dave).exists()
    assert browse(cast.dave).get("/projects/claims-triage/").status_code == 404
    assert alice.post(f"/groups/claims/administrators/{cast.dave.pk}/remove/").status_code == 404


def test_the_projects_of_a_group_are_moved_before_it_is_deleted(cast: Cast, browse: Browse) -> None:
    factories.person("Grace Group", role="group_admin", group=cast.claims)
    create_group(code="sales", name="Sales", actor=ACTOR)
    alice = browse(cast.alice)
    page = alice.get("/groups/claims/delete/").content.decode()
    link = re.search(r'href="(/projects/bulk/[^"]+)"', page)
    assert link
    shown = alice.get(link.group(1).replace("&amp;", "&") + "&to=sales").content.decode()
    plan = re.search(r'name="plan" value="([^"]+)"', shown)
    assert plan
    alice.post("/projects/bulk/", {"plan": plan.group(1)})
    assert alice.post("/groups/claims/delete/", {"confirm": "claims"}).status_code == 302
    entry = AuditEntry.objects.get(action="group.deleted")
    assert entry.changes["administrators"] == [["Grace Group"], []]
    assert not RoleGrant.objects.filter(group=cast.claims).exists()

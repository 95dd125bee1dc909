"""People of a project from a CSV file: every error by line before anybody is added."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from audit.models import AuditEntry
from portal.accounts import graph
from portal.accounts.graph import DirectoryPerson
from portal.accounts.models import Person
from portal.lib.errors import RuleBroken
from projects.models import Membership
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]
THERE = "/projects/claims-triage/members/import/"


@pytest.fixture
def mei(monkeypatch: pytest.MonkeyPatch, settings: Any) -> DirectoryPerson:
    """Somebody the directory knows and the portal does not."""
    settings.ENTRA_TENANT_ID = str(factories.TENANT)
    found = DirectoryPerson(uuid.uuid4(), "Mei Tan", "mei.tan@northgate.example")

    def by_mail(email: str) -> DirectoryPerson:
        if email != found.email:
            raise RuleBroken(f"Entra ID knows nobody with the address {email}.")
        return found

    monkeypatch.setattr(graph, "person_by_mail", by_mail)
    return found


def send(client: Client, text: str) -> tuple[int, str]:
    """Upload a file and return the status and the page."""
    answer = client.post(THERE, {"file": SimpleUploadedFile("p.csv", text.encode())})
    return answer.status_code, answer.content.decode()


def work_on(page: str) -> str:
    """Return the work that a page would go on with."""
    found = re.search(r'name="work" value="([^"]+)"', page)
    assert found, page
    return found.group(1)


def roles(cast: Cast) -> dict[str, str]:
    """Return by name what people are in the project."""
    return dict(Membership.objects.filter(project=cast.triage).values_list("person__name", "role"))


def test_every_error_is_told_by_line_and_nobody_is_added(
    cast: Cast, browse: Browse, mei: DirectoryPerson
) -> None:
    factories.person("Gone Away", is_active=False)
    before = roles(cast)
    status, page = send(
        browse(cast.alice),
        "person,role\n"
        "dave@northgate.example,member\n"
        ",owner\n"
        "nobody@northgate.example,king\n"
        "gone@northgate.example,\n"
        "DAVE@northgate.example,member\n"
        "erin@northgate.example,owner\n"
        "a,b,c\n",
    )
    assert status == 422
    told = re.findall(r'<th scope="row" class="num">(\d+)</th><td><code>([^<]*)</code>', page)
    assert told == [
        ("3", "person"),
        ("4", "person"),
        ("4", "role"),
        ("5", "person"),
        ("6", "person"),
        ("7", "role"),
        ("8", "–"),
    ]
    assert "7 errors in 6 lines" in page
    assert "Line 2 names the same person" in page
    assert "does not go with auditor" in page
    assert 'name="work"' not in page
    assert roles(cast) == before


def test_a_file_without_errors_is_shown_then_done(cast: Cast, browse: Browse, mei: DirectoryPerson) -> None:
    alice = browse(cast.alice)
    text = (
        "Role;Person\n"
        "owner;carol@northgate.example\n"
        ";mei.tan@northgate.example\n"
        "member;bob@northgate.example\n"
        "Member;dave@northgate.example\n"
    )
    status, page = send(alice, text)
    assert status == 200
    assert "2 people would be added" in page
    assert "Stays owner" in page
    assert set(roles(cast)) == {"Bob Owner", "Carol Member"}, "nobody is added before it is confirmed"
    assert not Person.objects.filter(name="Mei Tan").exists()
    answer = alice.post(f"{THERE}add/", {"work": work_on(page)})
    assert answer["Location"] == "/projects/claims-triage/members/"
    assert roles(cast) == {
        "Bob Owner": "owner",
        "Carol Member": "owner",
        "Mei Tan": "member",
        "Dave Outsider": "member",
    }
    entries = AuditEntry.objects.filter(action="member.added", comment="From a CSV file")
    assert set(entries.values_list("actor_id", "project_id")) == {(str(cast.alice.pk), cast.triage.pk)}
    assert entries.count() == 3, "who stays has no entry"


def test_an_owner_adds_members_and_makes_no_owners(cast: Cast, browse: Browse, mei: DirectoryPerson) -> None:
    bob = browse(cast.bob)
    status, page = send(bob, "person,role\ndave@northgate.example,owner\n")
    assert status == 422
    assert "makes somebody an owner" in page
    status, page = send(bob, "person,role\ndave@northgate.example,\nbob@northgate.example,owner\n")
    assert bob.post(f"{THERE}add/", {"work": work_on(page)}).status_code == 302
    assert roles(cast)["Dave Outsider"] == "member"
    assert browse(cast.carol).get(THERE).status_code == 403
    assert browse(cast.dave).post(THERE, {"text": "person\n"}).status_code == 403, "a member by now"


def test_work_is_good_for_who_saw_it_in_this_project_with_the_rights_of_now(
    cast: Cast, browse: Browse, mei: DirectoryPerson
) -> None:
    alice = browse(cast.alice)
    _, page = send(alice, "person,role\ncarol@northgate.example,owner\n")
    work = work_on(page)
    assert browse(cast.bob).post(f"{THERE}add/", {"work": work}).status_code == 403
    elsewhere = "/projects/fraud-notes/members/import/add/"
    assert alice.post(elsewhere, {"work": work}).status_code == 400
    assert alice.post(f"{THERE}add/", {"work": "forged"}).status_code == 400
    cast.alice.role_grants.all().delete()
    Membership.objects.create(project=cast.triage, person=cast.alice, role="owner")
    answer = alice.post(f"{THERE}add/", {"work": work})
    assert "You may make nobody an owner any more" in answer.content.decode()
    assert roles(cast)["Carol Member"] == "member"


def test_a_long_file_is_done_step_by_step_and_tells_what_was_left_out(
    cast: Cast, browse: Browse, mei: DirectoryPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projects.work.STEP", 2)
    people = [factories.person(f"P{index} Person") for index in range(3)]
    alice = browse(cast.alice)
    _, page = send(alice, "person\n" + "".join(f"{each.email}\n" for each in people))
    Person.objects.filter(pk=people[1].pk).update(is_active=False)
    answer = alice.post(f"{THERE}add/", {"work": work_on(page)}).content.decode()
    assert "2 of 3 lines done" in answer
    assert "is disabled" in answer
    answer = alice.post(f"{THERE}add/", {"work": work_on(answer)}).content.decode()
    assert "2 people added to Claims triage" in answer
    assert "Back to Claims triage" in answer

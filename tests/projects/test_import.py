"""Projects from a CSV file: every error by line before anything is created."""

import re
from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from groups.services import create_group
from portal.accounts.models import Person
from projects.models import Membership, Project
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]


def send(client: Client, text: str | bytes) -> tuple[int, str]:
    """Upload a file and return the status and the page."""
    content = text if isinstance(text, bytes) else text.encode()
    answer = client.post("/projects/import/", {"file": SimpleUploadedFile("p.csv", content)})
    return answer.status_code, answer.content.decode()


def work_on(page: str) -> str:
    """Return the work that a page would go on with."""
    found = re.search(r'name="work" value="([^"]+)"', page)
    assert found, page
    return found.group(1)


def test_every_error_is_told_by_line_and_nothing_is_created(cast: Cast, browse: Browse) -> None:
    before = Project.objects.count()
    status, page = send(
        browse(cast.alice),
        "name,code,group,owners,daily_limit,tags\n"
        "Good,good,claims,bob@northgate.example,100,pilot\n"
        ",no-name,,,,\n"
        "Taken,claims-triage,nowhere,,much,\n"
        "Twice,good,,,,\n"
        "Wide,,,,,,x\n",
    )
    assert status == 422
    told = re.findall(r'<th scope="row" class="num">(\d+)</th><td><code>([^<]*)</code>', page)
    assert told == [
        ("3", "name"),
        ("4", "group"),
        ("4", "daily_limit"),
        ("4", "code"),
        ("5", "code"),
        ("6", "–"),
    ]
    assert "6 errors in 4 lines, so nothing was created" in page
    assert 'name="work"' not in page
    assert Project.objects.count() == before


def test_a_file_without_errors_is_shown_then_created(cast: Cast, browse: Browse) -> None:
    factories.priced("gpt-5-mini")
    alice = browse(cast.alice)
    status, page = send(
        alice,
        "\ufeffName;Code;Group;Owners;Members;Monthly limit;Tags;Allowed models\r\n"
        "Chat pilot;;claims;bob@northgate.example;carol@northgate.example, dave@northgate.example;"
        "2,000.50;Pilot, chat;gpt-5*\r\n",
    )
    assert status == 200
    assert "1 project would be created" in page
    answer = alice.post("/projects/import/create/", {"work": work_on(page)}, follow=True)
    assert "1 project created" in answer.content.decode()
    made = Project.objects.get(code="chat-pilot")
    assert (made.group, made.tags, made.allowed_models) == (cast.claims, ["chat", "pilot"], ["gpt-5*"])
    people = Membership.objects.filter(project=made).values_list("person__name", "role")
    assert set(people) == {("Bob Owner", "owner"), ("Carol Member", "member"), ("Dave Outsider", "member")}


def test_a_long_file_is_created_step_by_step(
    cast: Cast, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projects.work.STEP", 2)
    alice = browse(cast.alice)
    _, page = send(alice, "name\nOne\nTwo\nThree\n")
    page = alice.post("/projects/import/create/", {"work": work_on(page)}).content.decode()
    assert "2 of 3 lines done" in page
    factories.project("three")
    page = alice.post("/projects/import/create/", {"work": work_on(page)}).content.decode()
    assert "2 projects created" in page
    assert "three is used by" in page
    assert set(Project.objects.values_list("code", flat=True)) >= {"one", "two", "three"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "file is empty"),
        (b"name\n", "no line below"),
        (b"title\nx\n", "There is no column title"),
        (b"code\nx\n", "with a column called name"),
        ("name\nÄ".encode("latin-1"), "not UTF-8"),
        (b"name\n" + b"x\n" * 501, "at most 500 lines"),
        (b"name\n" + b"x" * 600_000, "at most 500 kB"),
    ],
)
def test_what_is_no_list_of_projects_is_told(
    content: bytes, sentence: str, cast: Cast, browse: Browse
) -> None:
    status, page = send(browse(cast.alice), content)
    assert status == 422
    assert sentence in page


def test_a_group_administrator_creates_in_their_group_only(cast: Cast, browse: Browse) -> None:
    grace = factories.person("Grace Group", role="group_admin", group=cast.claims)
    create_group(code="other", name="Other", actor=factories.ACTOR)
    client = browse(grace)
    _, page = send(client, "name,group\nA,claims\nB,other\nC,\n")
    assert "There is no such group" in page
    assert "Name one of your groups" in page
    _, page = send(browse(cast.alice), "name,group\nA,other\n")
    assert client.post("/projects/import/create/", {"work": work_on(page)}).status_code == 403
    assert client.post("/projects/import/create/", {"work": "forged"}).status_code == 400


def test_the_template_is_a_file_that_could_be_imported(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.alice).get("/projects/import/template/")
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()  # type: ignore[attr-defined]
    assert lines[0].startswith("name,code,group,owners,members")

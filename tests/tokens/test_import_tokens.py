"""User tokens from a CSV file: every error by line, then all of them or none, and each secret shown once."""

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.credentials import digests
from portal.decision import decide
from portal.lib import secrets
from portal.spend.models import Limit
from projects.services import remove_member, set_project_state, update_project
from tests import factories
from tests.factories import Cast
from tokens.models import UserToken

Browse = Callable[[Person], Client]
GOOD = (
    "project,person,name,days,daily_limit,monthly_limit,allowed_models\n"
    "claims-triage,carol@northgate.example,notebook,30,5,50.25,gpt-5-mini\n"
    "claims-triage,bob@northgate.example,,,,,\n"
    "fraud-notes,DAVE@northgate.example,desk,7,,,gpt-5*;gpt-5-mini\n"
)


@pytest.fixture
def cast(db: None) -> Cast:
    """The cast, and one model with a price."""
    factories.priced("gpt-5-mini")
    return factories.cast()


def paste(client: Client, text: str) -> Any:
    """Send pasted lines."""
    return client.post("/tokens/import/", {"text": text})


def confirmation(page: Any) -> dict[str, str]:
    """Return what the button of the preview sends."""
    assert page.status_code == 200, page.content.decode()
    return {"text": page.context["text"], "once": str(page.context["once"])}


def test_a_file_is_shown_then_issued_and_each_secret_is_shown_once(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    page = alice.post(
        "/tokens/import/", {"file": SimpleUploadedFile("t.csv", b"\xef\xbb\xbf" + GOOD.encode())}
    )
    assert "3 tokens would be issued" in page.content.decode()
    assert not UserToken.objects.exists()
    answer = alice.post("/tokens/import/create/", confirmation(page))
    assert answer["Cache-Control"] == "no-store"
    shown = secrets.PATTERNS["user_token"].findall(answer.content.decode())
    made = {token.name: token for token in UserToken.objects.select_related("person", "project")}
    assert {name: (token.person, token.project) for name, token in made.items()} == {
        "notebook": (cast.carol, cast.triage),
        "User token": (cast.bob, cast.triage),
        "desk": (cast.dave, cast.fraud),
    }
    for token in made.values():
        secret = next(each for each in shown if token.key_id in each)
        assert digests.matches(secret, token.pepper_id, token.digest)
        assert secret not in str(dict(alice.session.items()))
    notebook, usual, desk = made["notebook"], made["User token"], made["desk"]
    lives = [token.expires - token.created + timedelta(minutes=1) for token in (notebook, usual, desk)]
    assert [life.days for life in lives] == [30, 90, 7]
    assert (notebook.allowed_models, desk.allowed_models) == (["gpt-5-mini"], ["gpt-5*", "gpt-5-mini"])
    limits = Limit.objects.filter(scope_key=f"c:{notebook.key_id}").values_list("window", "amount")
    assert set(limits) == {("day", 5 * 10**9), ("month", 50_250_000_000)}


def test_each_token_and_the_import_are_on_record_without_a_secret(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    answer = alice.post("/tokens/import/create/", confirmation(paste(alice, GOOD)))
    entries = AuditEntry.objects.filter(action__in=["token.issued", "tokens.imported"])
    assert max(entries.values_list("action", "target_label")) == ("tokens.imported", "3 user tokens")
    assert entries.filter(action="token.issued").count() == 3
    for secret in secrets.PATTERNS["user_token"].findall(answer.content.decode()):
        assert not any(secret in entry.canonical for entry in AuditEntry.objects.all())


def test_the_answer_may_be_a_file_instead_of_a_page(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    answer = alice.post("/tokens/import/create/", confirmation(paste(alice, GOOD)) | {"as": "csv"})
    assert answer["Cache-Control"] == "no-store"
    assert answer["Content-Disposition"] == 'attachment; filename="user-tokens-issued.csv"'
    text = b"".join(answer).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["Person"] for row in rows] == ["Carol Member", "Bob Owner", "Dave Outsider"]
    found = [secrets.parse(row["Secret"]) for row in rows]
    assert {each.key_id for each in found if each} == set(UserToken.objects.values_list("key_id", flat=True))


def test_sending_it_again_issues_nothing_again(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    work = confirmation(paste(alice, GOOD))
    assert alice.post("/tokens/import/create/", work).status_code == 200
    again = alice.post("/tokens/import/create/", work)
    assert again.status_code == 422
    assert "These tokens are issued already" in again.content.decode()
    assert not secrets.PATTERNS["user_token"].findall(again.content.decode())
    assert UserToken.objects.count() == 3


def test_every_error_is_told_by_line_and_nothing_is_issued(cast: Cast, browse: Browse) -> None:
    set_project_state(project=cast.fraud, state="archived", actor=factories.ACTOR)
    page = paste(
        browse(cast.alice),
        "project;person;name;days;daily_limit;allowed_models\n"
        "claims-triage;carol@northgate.example;a;;;\n"
        "nowhere;nobody@northgate.example;b;0;much;gpt-9\n"
        "claims-triage;dave@northgate.example;c;366;-1;\n"
        "fraud-notes;dave@northgate.example;d;x;;\n"
        "claims-triage;carol@northgate.example;a;;;\n"
        ";;;;;\n"
        "claims-triage;carol@northgate.example;e;;;;;\n",
    )
    assert page.status_code == 422
    told = re.findall(
        r'<th scope="row" class="num">(\d+)</th><td><code>([^<]*)</code>', page.content.decode()
    )
    assert told == [
        ("3", "project"), ("3", "person"), ("3", "days"), ("3", "daily_limit"), ("3", "allowed_models"),
        ("4", "days"), ("4", "daily_limit"), ("4", "person"),
        ("5", "days"), ("5", "project"),
        ("6", "name"),
        ("8", "–"),
    ]  # fmt: skip
    assert "12 errors in 5 lines, so nothing was created" in page.content.decode()
    assert "once" not in page.context
    assert not UserToken.objects.exists()


def test_one_that_cannot_be_issued_any_more_stops_all_of_them(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    work = confirmation(paste(alice, GOOD))
    remove_member(project=cast.triage, person=cast.carol, actor=factories.ACTOR)
    answer = alice.post("/tokens/import/create/", work)
    assert answer.status_code == 422
    assert "Carol Member is not a member of Claims triage" in answer.content.decode()
    assert not UserToken.objects.exists()


def test_an_owner_issues_in_their_projects_and_a_member_to_themselves_alone(
    cast: Cast, browse: Browse
) -> None:
    page = paste(browse(cast.bob), GOOD)
    assert [(each.line, each.column) for each in page.context["problems"]] == [(4, "project")]
    carol = browse(cast.carol)
    mine = "project,person\nclaims-triage,carol@northgate.example\n"
    assert len(paste(carol, mine).context["rows"]) == 1
    page = paste(carol, "project,person\nclaims-triage,bob@northgate.example\n")
    assert [each.column for each in page.context["problems"]] == ["person"]
    update_project(project=cast.triage, members_issue_tokens=False, actor=factories.ACTOR)
    assert [each.column for each in paste(carol, mine).context["problems"]] == ["project"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Choose a file, or paste its lines"),
        ("project,person\n", "no line below"),
        ("project,who\nx,y\n", "There is no column who"),
        ("project\nx\n", "a column called project and person"),
        ("project,person\n" + "x,y\n" * 201, "at most 200 lines"),
        ("project,person\n" + "x" * 60_000, "at most 50 kB"),
    ],
)
def test_what_is_no_list_of_tokens_is_told(text: str, sentence: str, cast: Cast, browse: Browse) -> None:
    answer = paste(browse(cast.alice), text)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()


def test_the_template_names_every_column(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.bob).get("/tokens/import/template/")
    text = b"".join(answer).decode("utf-8-sig")
    assert text.startswith("project,person,name,days,daily_limit,monthly_limit,allowed_models\r\n")


def test_imported_tokens_decide_the_next_call(clean_state: None, browse: Browse) -> None:
    cast = factories.cast()
    factories.priced("gpt-5-mini")
    alice = browse(cast.alice)
    alice.post("/tokens/import/create/", confirmation(paste(alice, GOOD)))
    for token in UserToken.objects.all():
        found = decide.explain(token.key_id, model="gpt-5-mini", input_tokens=100, max_output_tokens=100)
        assert found.code == "allow"

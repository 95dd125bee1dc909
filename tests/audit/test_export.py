"""Taking the log away: as filtered, safe to open, provable, and written down itself."""

import csv
import hashlib
import io
import json
from collections.abc import Callable

import pytest
from django.test import Client

from audit.actions import Action
from audit.actors import Actor, Target
from audit.models import AuditEntry, AuditSeal
from audit.services import record
from portal.accounts.models import Person
from tests.factories import Cast

Browse = Callable[[Person], Client]
EVIL = '=HYPERLINK("http://evil.example")'


def text_of(client: Client, path: str) -> str:
    """Return a streamed download as text."""
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.streaming
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]


def test_csv_holds_the_entries_as_filtered_and_no_formula(sealed: Cast, browse: Browse) -> None:
    record(Action.PERSON_CREATED, actor=Actor("user", "1", EVIL), target=Target("person", "1", "+1 Park"))
    seal = AuditSeal.objects.latest("seq")
    rows = list(
        csv.DictReader(io.StringIO(text_of(browse(sealed.erin), "/audit/export/csv/?q=hyperlink")[1:]))
    )
    assert len(rows) == 1
    assert rows[0]["Entry"] == str(seal.seq)
    assert rows[0]["Made by"] == f"'{EVIL}"
    assert rows[0]["Object"] == "'+1 Park"
    assert (rows[0]["Hash"], rows[0]["Previous hash"]) == (seal.hash, seal.prev_hash)


def test_lines_of_json_let_anybody_compute_the_hashes(sealed: Cast, browse: Browse) -> None:
    record(Action.PERSON_CREATED, actor=Actor("user", "1", 'Zoë "Z" \\ ☃'), target=Target("person", "1", "Z"))
    last = AuditSeal.objects.latest("seq").seq
    text = text_of(browse(sealed.alice), "/audit/export/ndjson/")
    *lines, end = [json.loads(line) for line in text.splitlines()]
    assert [line["seq"] for line in lines] == list(range(last, 0, -1))
    previous = "0" * 64
    for line in reversed(lines):
        canonical = json.dumps(line["entry"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert line["prev_hash"] == previous
        assert line["hash"] == hashlib.sha256(f"{previous}1{canonical}".encode()).hexdigest()
        previous = line["hash"]
    assert end == {"manifest": {"rows": last, "first_seq": 1, "last_seq": last, "last_hash": previous}}


@pytest.mark.parametrize(("kind", "word"), [("csv", "CSV"), ("ndjson", "JSON lines")])
def test_an_export_is_an_entry_itself(kind: str, word: str, sealed: Cast, browse: Browse) -> None:
    last = AuditSeal.objects.latest("seq").seq
    text_of(browse(sealed.alice), f"/audit/export/{kind}/?action=group.created&q=Claims")
    entry = AuditEntry.objects.get(action=Action.AUDIT_EXPORTED)
    assert entry.actor_id == str(sealed.alice.pk)
    assert entry.changes["format"] == [None, word]
    assert entry.changes["up_to_entry"] == [None, last]
    assert entry.changes["action"] == [None, "group.created"]
    assert entry.changes["q"] == [None, "Claims"]


def test_only_those_with_the_right_take_it_away(sealed: Cast, browse: Browse) -> None:
    for person in (sealed.bob, sealed.carol, sealed.dave):
        for kind in ("csv", "ndjson"):
            assert browse(person).get(f"/audit/export/{kind}/").status_code == 403
        assert "/audit/export/" not in browse(person).get("/audit/").content.decode()
    assert not AuditEntry.objects.filter(action=Action.AUDIT_EXPORTED).exists()


def test_the_menu_takes_the_filters_along(sealed: Cast, browse: Browse) -> None:
    alice = browse(sealed.alice)
    for headers in ({}, {"HX-Request": "true"}):
        page = alice.get("/audit/?outcome=refused&before=9&open=3", headers=headers).content.decode()
        assert 'href="/audit/export/csv/?outcome=refused"' in page
        assert page.count('id="export"') == 1

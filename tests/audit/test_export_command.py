"""``export_audit_log``: as the page exports it, oldest first, with a manifest, and an entry itself."""

import csv
import hashlib
import io
import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from audit.actions import Action
from audit.actors import Actor, Target
from audit.models import AuditEntry, AuditSeal
from audit.services import record
from tests.factories import Cast

EVIL = '=HYPERLINK("http://evil.example")'


def export(*words: str) -> tuple[str, str]:
    """Return what the command writes to standard output and standard error."""
    out, err = StringIO(), StringIO()
    call_command("export_audit_log", *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_lines_of_json_are_the_chain_in_order_and_end_with_a_manifest(sealed: Cast) -> None:
    last = AuditSeal.objects.latest("seq")
    output, _ = export("--format", "ndjson")
    *lines, end = [json.loads(line) for line in output.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, last.seq + 1))
    previous = "0" * 64
    for line in lines:
        canonical = json.dumps(line["entry"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert line["prev_hash"] == previous
        assert line["hash"] == hashlib.sha256(f"{previous}1{canonical}".encode()).hexdigest()
        previous = line["hash"]
    assert end == {
        "manifest": {"rows": last.seq, "first_seq": 1, "last_seq": last.seq, "last_hash": last.hash}
    }


def test_csv_holds_no_formula_and_its_manifest_is_on_standard_error(sealed: Cast) -> None:
    record(Action.PERSON_CREATED, actor=Actor("user", "1", EVIL), target=Target("person", "1", "+1 Park"))
    last = AuditSeal.objects.latest("seq")
    output, errors = export("--format", "csv")
    rows = list(csv.DictReader(io.StringIO(output[1:], newline="")))
    assert (rows[-1]["Made by"], rows[-1]["Object"]) == (f"'{EVIL}", "'+1 Park")
    assert json.loads(errors)["manifest"] == {
        "rows": len(rows), "first_seq": 1, "last_seq": last.seq, "last_hash": last.hash,
    }  # fmt: skip


def test_a_period_narrows_it(sealed: Cast) -> None:
    newest = AuditEntry.objects.latest("id").occurred
    output, _ = export("--format", "ndjson", "--since", newest.isoformat())
    *lines, end = [json.loads(line) for line in output.splitlines()]
    assert len(lines) == end["manifest"]["rows"] == 1
    output, _ = export("--format", "ndjson", "--until", "2020-01-01")
    assert json.loads(output) == {
        "manifest": {"rows": 0, "first_seq": None, "last_seq": None, "last_hash": None}
    }


def test_the_export_is_an_entry_itself(sealed: Cast) -> None:
    last = AuditSeal.objects.latest("seq").seq
    export("--format", "csv", "--since", "2026-01-01", "--reason", "Inspection")
    entry = AuditEntry.objects.get(action=Action.AUDIT_EXPORTED)
    assert (entry.actor_type, entry.comment) == ("command", "Inspection")
    assert entry.changes["format"] == [None, "csv"]
    assert entry.changes["up_to_entry"] == [None, last]
    assert "since" in entry.changes


@pytest.mark.parametrize(
    "words",
    [("--since", "yesterday"), ("--anchor", "/no/such/directory"), ("--json",)],
)
def test_wrong_usage_leaves_no_entry(words: tuple[str, ...], sealed: Cast) -> None:
    with pytest.raises(CommandError) as refused:
        export("--format", "csv", *words)
    assert refused.value.returncode == 2
    assert not AuditEntry.objects.filter(action=Action.AUDIT_EXPORTED).exists()


def test_an_anchor_is_written_once_for_each_end(sealed: Cast, tmp_path: Path) -> None:
    for _ in range(2):
        export("--format", "ndjson", "--anchor", str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2  # the first export is an entry of the second

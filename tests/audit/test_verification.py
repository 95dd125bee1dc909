# ruff: noqa: S608  the statements are put together from constants
"""``verify_audit_log``: an intact log passes, whatever the owner of the tables did to it is found."""

import hashlib
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from audit.actions import Action
from audit.actors import Actor, Target
from audit.models import AuditSeal
from audit.services import record
from audit.tasks import keep_anchor


@pytest.fixture
def log(clean_state: None) -> None:
    """Six entries, with all that a column can hold."""
    write(6)


def write(number: int) -> None:
    """Commit some entries."""
    for each in range(number):
        actor = Actor("user", "7", 'Zoë "Z" ☃', ip=("10.0.0.1", "::ffff:10.0.0.1", "fd00::1")[each % 3])
        with transaction.atomic():
            record(
                Action.LIMIT_CHANGED,
                actor=actor,
                target=Target("limit", str(each), "Claims\ttriage \\ \x00"),
                changes={"b": (None, [each, {"x": True}]), "a": ("=1+1", 10**18), "c": (1.5, "é")},
                project=each,
            )


def run(name: str, *words: str) -> tuple[int, str]:
    """Run a command and return its exit status and output."""
    out = StringIO()
    try:
        call_command(name, *words, stdout=out, stderr=StringIO())
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def found(*words: str) -> tuple[int, dict[str, Any]]:
    status, output = run("verify_audit_log", "--json", *words)
    return status, json.loads(output)


def as_owner(*statements: str) -> None:
    """Do as one can who owns the tables: switch the triggers off, act, switch them on again."""
    tables = ("audit_entry", "audit_seal")
    with transaction.atomic(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement in statements:
            cursor.execute(statement)
        for table in tables:
            cursor.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", [table]
            )
            for (name,) in cursor.fetchall():
                cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")


def entry(seq: int) -> str:
    return f"(SELECT entry_id FROM audit_seal WHERE seq = {seq})"


def deleted(where: str) -> str:
    """Remove entries together with their seals."""
    return (
        f"WITH gone AS (DELETE FROM audit_seal WHERE {where} RETURNING entry_id)"
        " DELETE FROM audit_entry WHERE id IN (SELECT entry_id FROM gone)"
    )


def hash_again(first: int) -> None:
    """Compute the chain anew from an entry on, as somebody would who knows how."""
    previous = AuditSeal.objects.get(seq=first - 1).hash
    for seal in AuditSeal.objects.select_related("entry").filter(seq__gte=first).order_by("seq"):
        new = hashlib.sha256(f"{previous}1{seal.entry.canonical}".encode()).hexdigest()
        as_owner(f"UPDATE audit_seal SET prev_hash = '{previous}', hash = '{new}' WHERE seq = {seal.seq}")
        previous = new


def test_an_intact_log_is_status_0(log: None) -> None:
    status, proof = found()
    assert (status, proof["outcome"], proof["entries"], proof["findings"]) == (0, "intact", 6, [])
    assert proof["last_hash"] == AuditSeal.objects.get(seq=6).hash
    assert run("verify_audit_log")[1].startswith("Intact: 6 entries")


CHANGED = f"UPDATE audit_entry SET canonical = replace(canonical, 'Zoë', 'Eve') WHERE id = {entry(3)}"
TAMPERED = {
    "changed text": ([CHANGED], 3, "hash"),
    "changed column": ([f"UPDATE audit_entry SET actor_display = 'Eve' WHERE id = {entry(3)}"], 3, "column"),
    "changed value": ([f"UPDATE audit_entry SET changes = '{{}}' WHERE id = {entry(6)}"], 6, "column"),
    "changed address": ([f"UPDATE audit_entry SET ip = '10.9.9.9' WHERE id = {entry(1)}"], 1, "column"),
    "changed constant": ([f"UPDATE audit_entry SET organization_id = 2 WHERE id = {entry(2)}"], 2, "column"),
    "deleted entry": ([deleted("seq = 3")], 4, "gap"),
    "deleted first entry": ([deleted("seq = 1")], 2, "gap"),
    "deleted seal": (["DELETE FROM audit_seal WHERE seq = 6"], None, "unsealed"),
    "swapped rows": (
        [
            "UPDATE audit_seal SET seq = -seq WHERE seq IN (3, 4)",
            "UPDATE audit_seal SET seq = CASE seq WHEN -3 THEN 4 ELSE 3 END WHERE seq < 0",
        ],
        3,
        "order",
    ),
    "inserted row": (
        [
            "CREATE TEMP TABLE forged ON COMMIT DROP AS SELECT * FROM audit_entry LIMIT 1",
            "UPDATE forged SET id = gen_random_uuid()",
            "INSERT INTO audit_entry SELECT * FROM forged",
        ],
        None,
        "unsealed",
    ),
    "inserted seal": (
        [
            "CREATE TEMP TABLE forged ON COMMIT DROP AS SELECT * FROM audit_entry LIMIT 1",
            "UPDATE forged SET id = gen_random_uuid()",
            "INSERT INTO audit_entry SELECT * FROM forged",
            "INSERT INTO audit_seal SELECT 7, forged.id, hash, hash FROM forged, audit_seal WHERE seq = 6",
        ],
        7,
        "hash",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_the_owner_of_the_tables_did_is_found(name: str, log: None) -> None:
    statements, seq, what = TAMPERED[name]
    as_owner(*statements)
    status, proof = found()
    assert (status, proof["outcome"]) == (1, "tampered")
    assert (proof["findings"][0]["seq"], proof["findings"][0]["what"]) == (seq, what)
    assert what in run("verify_audit_log")[1]


def test_an_end_that_was_cut_off_or_written_anew_is_found_by_anchors_only(log: None, tmp_path: Path) -> None:
    run("export_audit_log", "--format", "ndjson", "--anchor", str(tmp_path))
    [anchor] = tmp_path.iterdir()
    assert anchor.read_text().startswith(f"6 {AuditSeal.objects.get(seq=6).hash} ")
    assert found("--anchors", str(tmp_path))[0] == 0

    as_owner(CHANGED)
    hash_again(3)
    as_owner(
        f"UPDATE audit_entry SET actor_display = canonical::jsonb->>'actor_display' WHERE id = {entry(3)}"
    )
    assert found()[0] == 0
    status, proof = found("--anchors", str(tmp_path))
    assert (status, proof["findings"][0]["seq"], proof["findings"][0]["what"]) == (1, 6, "rewritten")

    as_owner(deleted("seq > 4"))
    assert found()[0] == 0
    status, proof = found("--anchors", str(tmp_path))
    assert (status, proof["findings"][0]["seq"], proof["findings"][0]["what"]) == (1, 6, "truncated")


def test_with_nothing_to_verify_against_the_status_is_3(clean_state: None, tmp_path: Path) -> None:
    assert found()[0] == 3
    write(1)
    assert found()[0] == 0
    assert found("--anchors", str(tmp_path))[0] == 3
    assert "no anchors" in run("verify_audit_log", "--anchors", str(tmp_path))[1]


def test_the_job_keeps_an_anchor_only_when_the_log_grew(log: None, tmp_path: Path, settings: Any) -> None:
    keep_anchor()  # no directory: nothing to do
    settings.AUDIT_ANCHORS = str(tmp_path)
    keep_anchor()
    keep_anchor()
    assert [path.name for path in tmp_path.iterdir()] == ["audit-000000000006.anchor"]
    write(1)
    keep_anchor()
    status, proof = found("--anchors", str(tmp_path))
    assert (status, proof["anchors"]) == (0, 2)


def test_wrong_usage_is_status_2(log: None, tmp_path: Path) -> None:
    (tmp_path / "audit-000000000001.anchor").write_text("1 nonsense\n")
    for directory in (tmp_path, tmp_path / "none"):
        with pytest.raises(CommandError) as refused:
            run("verify_audit_log", "--anchors", str(directory))
        assert refused.value.returncode == 2


def test_an_emptied_log_does_not_pass_for_a_new_one(log: None, tmp_path: Path) -> None:
    run("export_audit_log", "--format", "ndjson", "--anchor", str(tmp_path))
    as_owner(deleted("seq > 0"))
    assert found("--anchors", str(tmp_path))[0] == 1

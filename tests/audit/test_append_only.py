"""The database keeps the log: nobody changes or removes an entry, and the chain has no gap."""

import hashlib
import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from audit.actions import Action
from audit.actors import Actor, Target
from audit.models import AuditEntry, AuditSeal
from audit.services import NotInTransaction, record
from tests.decision.threads import at_once

CHANGES = [
    "UPDATE audit_entry SET actor_display = 'somebody else'",
    "DELETE FROM audit_entry",
    "TRUNCATE audit_entry CASCADE",
    "UPDATE audit_seal SET hash = repeat('0', 64)",
    "DELETE FROM audit_seal",
    "TRUNCATE audit_seal",
]
ONLY_THE_OWNERS = [
    "INSERT INTO audit_seal SELECT seq + 1, gen_random_uuid(), hash, hash FROM audit_seal",
    "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
    "ALTER TABLE audit_entry ADD COLUMN note text",
    "DROP TABLE audit_seal",
    "SET session_replication_role = replica",
]


def write(label: str = "Bob") -> None:
    """Commit one entry."""
    with transaction.atomic():
        record(Action.SIGNED_IN, actor=Actor("user", "1", "Bob"), target=Target("person", "1", label))


@pytest.fixture
def application(clean_state: None) -> Iterator[psycopg.Connection]:
    """A connection of the role the portal runs as, and one entry in the log."""
    write()
    with psycopg.connect(os.environ["TEST_DATABASE_APP_URL"], autocommit=True) as found:
        yield found


@pytest.mark.parametrize("change", CHANGES + ONLY_THE_OWNERS)
def test_the_application_cannot_change_the_log(change: str, application: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        application.execute(change)
    assert AuditEntry.objects.get().actor_display == "Bob"


@pytest.mark.parametrize("change", CHANGES)
def test_the_owner_of_the_tables_cannot_either(change: str, clean_state: None) -> None:
    write()
    with pytest.raises(ProgrammingError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(change)
    assert AuditSeal.objects.get().entry.actor_display == "Bob"


def test_the_application_may_add_and_the_database_seals(application: psycopg.Connection) -> None:
    columns = [str(field.column) for field in AuditEntry._meta.concrete_fields if field.column != "id"]
    application.execute(
        f"INSERT INTO audit_entry (id, {', '.join(columns)})"  # noqa: S608  names of our columns
        f" SELECT %s, {', '.join(columns)} FROM audit_entry",
        [uuid.uuid4()],
    )
    assert list(AuditSeal.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2]


def test_the_chain_has_no_gap_whoever_writes_and_whatever_is_rolled_back(clean_state: None) -> None:
    def work(number: int) -> None:
        for turn in range(5):
            write(f'{number} "quoted" ✓ {turn}')
            with transaction.atomic():
                actor, target = Actor("user", "1", "Bob"), Target("person", "1", "never")
                record(Action.SIGNED_IN, actor=actor, target=target)
                transaction.set_rollback(True)

    at_once(work, range(8))

    seals = list(AuditSeal.objects.select_related("entry").order_by("seq"))
    assert [seal.seq for seal in seals] == list(range(1, 41))
    previous = "0" * 64
    for seal in seals:
        assert seal.prev_hash == previous
        assert seal.hash == hashlib.sha256(f"{previous}1{seal.entry.canonical}".encode()).hexdigest()
        previous = seal.hash
    assert not AuditEntry.objects.filter(target_label="never").exists()


def test_nothing_is_recorded_outside_a_transaction(clean_state: None) -> None:
    with pytest.raises(NotInTransaction):
        record(Action.SIGNED_IN, actor=Actor("user", "1", "Bob"), target=Target("person", "1", "Bob"))

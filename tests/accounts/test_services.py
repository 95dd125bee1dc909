"""People, links and grants: the rules and what is written to the audit log."""

import uuid

import pytest
from django.db import IntegrityError, transaction

from audit.actors import Actor
from audit.models import AuditEntry
from groups.models import Group
from portal.accounts import services
from portal.accounts.graph import DirectoryPerson
from portal.accounts.models import Person
from portal.lib.errors import RuleBroken
from tests.accounts.cast import ADMIN, TENANT, person

pytestmark = pytest.mark.django_db
COMMAND = Actor("command", "command:root", "command:root")


def found(name: str = "Bob Nakamura") -> DirectoryPerson:
    return DirectoryPerson(uuid.uuid4(), name, "bob@northgate.example")


@pytest.fixture(autouse=True)
def tenant(settings: object) -> None:
    settings.ENTRA_TENANT_ID = str(TENANT)  # type: ignore[attr-defined]


def test_role_is_granted_and_audited() -> None:
    bob = person()

    services.grant_access(person=bob, role="auditor", actor=COMMAND, reason="quarterly audit")

    grant = bob.role_grants.get()
    assert (grant.role, grant.source, grant.granted_by) == ("auditor", "portal", "command:root")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.comment) == ("access.granted", "quarterly audit")
    assert entry.changes == {"roles": [[], ["auditor"]]}


@pytest.mark.parametrize("role", ["owner", "member", "root", ""])
def test_only_roles_that_can_be_granted_are(role: str) -> None:
    with pytest.raises(RuleBroken, match="Choose one of"):
        services.grant_access(person=person(), role=role, actor=COMMAND)


def test_group_goes_with_group_administrators_only() -> None:
    bob, group = person(), Group.objects.create(code="claims", name="Claims")
    with pytest.raises(RuleBroken):
        services.grant_access(person=bob, role="auditor", group=group.pk, actor=COMMAND)

    services.grant_access(person=bob, role="group_admin", group=group.pk, actor=COMMAND)
    services.grant_access(person=bob, role="group_admin", actor=COMMAND)

    assert AuditEntry.objects.latest("id").changes["roles"][1] == ["group_admin:claims", "group_admin"]
    with pytest.raises(RuleBroken, match="already"):
        services.grant_access(person=bob, role="group_admin", group=group.pk, actor=COMMAND)


def test_deleted_group_is_not_granted() -> None:
    gone = Group.objects.create(code="gone", name="Gone", deleted="2026-01-01T00:00:00Z")

    with pytest.raises(RuleBroken, match="is deleted"):
        services.grant_access(person=person(), role="group_admin", group=gone.pk, actor=COMMAND)


def test_person_without_identity_gets_no_role() -> None:
    with pytest.raises(RuleBroken, match="no Entra ID account"):
        services.grant_access(person=person(tid=None, oid=None), role="auditor", actor=COMMAND)


def test_nobody_changes_their_own_roles() -> None:
    alice = person("Alice Keller", role="admin")
    herself = Actor("user", str(alice.pk), "Alice Keller")

    with pytest.raises(RuleBroken, match="your own"):
        services.grant_access(person=alice, role="operator", actor=herself)
    with pytest.raises(RuleBroken, match="your own"):
        services.revoke_access(person=alice, actor=herself)


def test_revoking_takes_every_role_and_ends_sessions() -> None:
    bob = person(role="auditor")
    bob.role_grants.create(role="operator", source="entra")

    assert services.revoke_access(person=bob, actor=ADMIN) == ["auditor", "operator"]

    bob.refresh_from_db()
    assert not bob.role_grants.exists()
    assert bob.session_epoch == 1
    with pytest.raises(RuleBroken, match="no role"):
        services.revoke_access(person=bob, actor=ADMIN)


def test_person_for_a_credential_is_made_once_and_has_no_identity() -> None:
    first = services.person_without_identity(email="new@northgate.example", actor=COMMAND)
    again = services.person_without_identity(email=" New@northgate.example", actor=COMMAND)

    assert first == again
    assert (first.tid, first.oid) == (None, None)
    assert AuditEntry.objects.get().action == "person.created"


def test_person_for_a_credential_is_not_the_one_with_the_same_address() -> None:
    bob = person()

    other = services.person_without_identity(email=bob.email, actor=COMMAND)

    assert other != bob


def test_address_is_required() -> None:
    with pytest.raises(RuleBroken):
        services.person_without_identity(email="  ", actor=COMMAND)


def test_linking_gives_an_identity_once() -> None:
    waiting = services.person_without_identity(email="bob@northgate.example", actor=COMMAND)
    who = found()

    linked = services.link_person(person=waiting, found=who, actor=ADMIN)

    assert (linked.tid, linked.oid, linked.name) == (TENANT, who.oid, "Bob Nakamura")
    assert AuditEntry.objects.latest("id").action == "person.linked"
    with pytest.raises(RuleBroken, match="already"):
        services.link_person(person=linked, found=found(), actor=ADMIN)


def test_account_of_somebody_known_is_not_linked() -> None:
    bob = person()
    waiting = services.person_without_identity(email="bob@northgate.example", actor=COMMAND)

    with pytest.raises(RuleBroken, match="known already, as Bob Nakamura"):
        services.link_person(person=waiting, found=DirectoryPerson(bob.oid, "Bob", "b@x"), actor=ADMIN)  # type: ignore[arg-type]


def test_person_of_the_directory_is_made_once_without_a_role() -> None:
    who = found()

    first = services.person_in_directory(found=who, actor=COMMAND)
    again = services.person_in_directory(found=DirectoryPerson(who.oid, "Robert", "r@x"), actor=COMMAND)

    assert first == again
    assert again.name == "Robert"
    assert not first.role_grants.exists()


def test_identity_is_unique_and_whole() -> None:
    bob = person()
    with pytest.raises(IntegrityError, match="person_identity_unique"), transaction.atomic():
        Person.objects.create(tid=bob.tid, oid=bob.oid, name="Other")
    with pytest.raises(IntegrityError, match="person_identity_whole"), transaction.atomic():
        Person.objects.create(oid=uuid.uuid4(), name="Half")


def test_database_knows_the_roles() -> None:
    bob, group = person(), Group.objects.create(code="claims", name="Claims")
    for fields, name in (
        ({"role": "root", "source": "portal"}, "role_grant_role_known"),
        ({"role": "admin", "source": "elsewhere"}, "role_grant_source_known"),
        ({"role": "admin", "source": "portal", "group": group}, "role_grant_group_for_group_admin"),
    ):
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            bob.role_grants.create(**fields)

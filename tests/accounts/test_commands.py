"""grant_access and revoke_access, as an operator runs them."""

import io
import json
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEntry
from groups.models import Group
from portal.accounts.models import Person
from portal.web.commands import Refused, UsageError
from projects.models import Project
from tests.accounts.cast import person
from tests.identity_fixtures import Browser, StandIn, known

pytestmark = pytest.mark.django_db


def run(*words: str) -> Any:
    """Run a command and return its output, read as JSON when that was asked for."""
    output = io.StringIO()
    call_command(*words, stdout=output)
    return json.loads(output.getvalue()) if "--json" in words else output.getvalue()


def test_address_becomes_an_identity(standin: StandIn) -> None:
    answer = run("grant_access", "bob@northgate.example", "--role", "auditor", "--reason", "audit", "--json")

    bob, directory = Person.objects.get(), standin.person("bob")
    assert (str(bob.tid), str(bob.oid)) == (directory["tid"], directory["id"])
    assert answer == {
        "person": bob.pk,
        "tid": directory["tid"],
        "oid": directory["id"],
        "role": "auditor",
        "group": None,
        "is_new": True,
    }
    entry = AuditEntry.objects.get(action="access.granted")
    assert entry.actor_id.startswith("command:")
    assert entry.comment == "audit"


def test_role_held_already_is_no_error(standin: StandIn) -> None:
    run("grant_access", "bob@northgate.example", "--role", "auditor")

    assert run("grant_access", "bob@northgate.example", "--role", "auditor", "--json")["is_new"] is False

    assert AuditEntry.objects.filter(action="access.granted").count() == 1


def test_granted_person_signs_in_and_revoked_person_is_out(browser: Browser) -> None:
    run("grant_access", "dave@northgate.example", "--role", "operator")
    assert browser.sign_in("dave").status_code == 302
    assert browser.is_signed_in()

    text = run("revoke_access", "dave@northgate.example")

    assert "no longer operator" in text
    assert not browser.is_signed_in()
    assert browser.sign_in("dave").status_code == 403


def test_group_administrator_of_a_group(standin: StandIn) -> None:
    claims = Group.objects.create(code="claims", name="Claims")

    text = run("grant_access", "gina@northgate.example", "--role", "group_admin", "--group", "claims")

    assert Person.objects.get().role_grants.get().group == claims
    assert "Group administrator of Claims" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nobody@northgate.example", "--role", "admin"], "Nobody in the directory"),
        (["bob@northgate.example", "--role", "group_admin", "--group", "none"], "no group with the code"),
        (["bob@northgate.example", "--role", "admin", "--oid", "x"], "not an object id"),
    ],
)
def test_refusals_are_exit_status_one(standin: StandIn, words: list[str], says: str) -> None:
    with pytest.raises(Refused, match=says) as refusal:
        run("grant_access", *words)
    assert refusal.value.returncode == 1
    assert not Person.objects.exists()


def test_refusal_as_json(standin: StandIn) -> None:
    output = io.StringIO()
    with pytest.raises(Refused):
        call_command("grant_access", "nobody@x.example", "--role", "admin", "--json", stdout=output)

    assert json.loads(output.getvalue())["error"]["field"] == "email"


def test_wrong_usage_is_exit_status_two(standin: StandIn) -> None:
    with pytest.raises(UsageError) as mistake:
        run("grant_access", "bob@northgate.example", "--role", "admin", "--group", "claims")
    assert mistake.value.returncode == 2
    with pytest.raises(CommandError):
        run("grant_access", "bob@northgate.example", "--role", "owner")


def test_ambiguous_address_needs_the_object_id(standin: StandIn) -> None:
    standin.change("dave", email="bob@northgate.example")
    with pytest.raises(Refused, match="Several people"):
        run("grant_access", "bob@northgate.example", "--role", "auditor")

    run("grant_access", "bob@northgate.example", "--role", "auditor", "--oid", standin.person("dave")["id"])

    assert Person.objects.get().name == "Dave Whitlock"


def test_object_id_is_enough_where_the_directory_is_silent(standin: StandIn) -> None:
    standin.outage("graph")
    identity = str(uuid.uuid4())
    with pytest.raises(Refused, match="Microsoft Graph"):
        run("grant_access", "first.admin@northgate.example", "--role", "admin")

    run("grant_access", "first.admin@northgate.example", "--role", "admin", "--oid", identity)

    first = Person.objects.get()
    assert (str(first.oid), first.email) == (identity, "first.admin@northgate.example")


def test_revoking_says_what_is_left(standin: StandIn) -> None:
    alice = known(standin, "alice")
    alice.role_grants.create(role="admin", source="entra")
    known(standin, "bob").role_grants.create(role="admin", source="entra")
    Project.objects.create(code="claims", name="Claims").memberships.create(person=alice)

    answer = run("revoke_access", "alice@northgate.example", "--json")

    assert answer["revoked"] == ["admin"]
    assert answer["assigned_in_entra"] is True
    assert answer["projects"] == ["claims"]


def test_nothing_to_revoke_is_refused(standin: StandIn) -> None:
    with pytest.raises(Refused, match="does not know"):
        run("revoke_access", "bob@northgate.example")
    bob = known(standin, "bob")
    with pytest.raises(Refused, match="no role"):
        run("revoke_access", "bob@northgate.example")
    Project.objects.create(code="claims", name="Claims").memberships.create(person=bob)
    with pytest.raises(Refused, match="only places in projects: claims"):
        run("revoke_access", "bob@northgate.example")


def test_access_of_a_leaver_can_be_revoked(standin: StandIn) -> None:
    bob = known(standin, "bob")
    bob.role_grants.create(role="auditor", source="portal")
    standin.control("DELETE", "people/bob")

    run("revoke_access", "bob@northgate.example")

    assert not bob.role_grants.exists()


def test_two_people_shown_with_an_address_are_not_confused(standin: StandIn) -> None:
    for name in ("Sam Low", "Sam High"):
        person(name, role="auditor", email="sam@northgate.example")

    with pytest.raises(Refused, match="Nobody in the directory"):
        run("revoke_access", "sam@northgate.example")

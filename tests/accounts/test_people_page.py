"""The page of people: who sees it, and how roles are given and taken there."""

from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from groups.models import Group
from portal.accounts import services
from portal.accounts.models import Person
from projects.models import Project
from tests import factories
from tests.accounts.cast import ADMIN, TENANT, person
from tests.identity_fixtures import StandIn

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def signed_in(role: str, name: str = "Elena Marsh") -> Client:
    return factories.signed_in(person(name, role=role))


@pytest.fixture
def admin(standin: StandIn) -> Client:
    """Elena, an administrator, in her browser."""
    return signed_in("admin")


def member(name: str = "Carol Jensen") -> Client:
    """Somebody who belongs to a project."""
    client, carol = Client(), person(name)
    Project.objects.create(code="p", name="P").memberships.create(person=carol)
    client.force_login(carol)
    return client


def test_everybody_is_listed_with_the_source_of_their_rights(admin: Client) -> None:
    person("Bob Nakamura", role="operator")
    gina = person("Gina Group")
    gina.role_grants.create(
        role="group_admin", source="entra", group=Group.objects.create(code="claims", name="Claims")
    )
    person("Dave Whitlock")

    page = admin.get("/accounts/people/").content.decode()

    assert "Bob Nakamura" in page
    assert "by Elena Marsh" in page
    assert "Group administrator of Claims" in page
    assert "from Entra ID" in page
    assert "Dave Whitlock" in page
    assert "4 people" in page
    nobody = admin.get("/accounts/people/", {"state": "no_role"}).content.decode()
    assert "Dave Whitlock" in nobody
    assert "Bob Nakamura" not in nobody


def test_list_is_filtered_and_answers_htmx_with_the_region(admin: Client) -> None:
    person("Bob Nakamura", role="operator")

    answer = admin.get("/accounts/people/", {"q": "naka", "role": "operator"}, headers=HTMX)

    region = answer.content.decode()
    assert region.lstrip().startswith('<div class="region" id="people-table"')
    assert "Bob Nakamura" in region
    assert "elena@northgate.example" not in region
    assert "Nobody matches" in admin.get("/accounts/people/", {"role": "auditor"}).content.decode()
    assert admin.get("/accounts/people/", {"source": "entra", "sort": "-signed-in"}).status_code == 200


def test_list_costs_the_same_for_one_and_for_many(admin: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(30):
        person(f"Person {number:02}", role="auditor")
    admin.get("/accounts/people/")  # the first look within an hour is written down

    with django_assert_max_num_queries(19):
        page = admin.get("/accounts/people/").content.decode()

    assert "31 people" in page


@pytest.mark.parametrize("role", ["operator", "group_admin"])
def test_page_is_for_administrators_and_auditors(role: str) -> None:
    assert signed_in(role).get("/accounts/people/").status_code == 403
    assert member().get("/accounts/people/").status_code == 403


def test_auditor_sees_and_changes_nothing() -> None:
    auditor, bob = signed_in("auditor", "Erin Falk"), person(role="operator")

    page = auditor.get("/accounts/people/").content.decode()

    assert "Grant a role" not in page
    assert "Revoke access" not in page
    for path in ("grant/", f"{bob.pk}/revoke/", f"{bob.pk}/sign-out/", f"{bob.pk}/link/"):
        assert auditor.get(f"/accounts/people/{path}").status_code == 403
        assert auditor.post(f"/accounts/people/{path}").status_code == 403
    assert bob.role_grants.exists()
    assert AuditEntry.objects.filter(action="access.refused").count() == 4


def test_role_is_granted_to_somebody_found(admin: Client, standin: StandIn) -> None:
    priya = standin.person("priya.raman")["id"]

    answer = admin.post(
        "/accounts/people/grant/", {"person": priya, "role": "auditor", "reason": "audit"}, headers=HTMX
    )

    assert answer.status_code == 204
    assert "people-table" in answer["HX-Trigger"]
    found = Person.objects.get(name="Priya Raman")
    assert (str(found.oid), found.tid) == (priya, TENANT)
    assert found.role_grants.get().granted_by.startswith("Elena Marsh")
    assert AuditEntry.objects.get(action="access.granted").comment == "audit"


def test_grant_works_without_script(admin: Client, standin: StandIn) -> None:
    assert admin.get("/accounts/people/grant/").status_code == 200
    found = admin.post(
        "/accounts/people/grant/", {"person_q": "priya", "person_find": "1", "role": "operator"}
    )
    assert found.status_code == 422
    page = found.content.decode()
    priya = standin.person("priya.raman")["id"]
    assert f'<input type="radio" name="person" value="{priya}">' in page
    assert 'value="operator" selected' in page

    answer = admin.post("/accounts/people/grant/", {"person_q": "priya", "person": priya, "role": "operator"})

    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/people/"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "Search for a person"),
        ({"person": "priya.raman@northgate.example"}, "does not know this choice"),
        ({"person": "00000000-0000-4000-8000-000000000000"}, "does not know this choice"),
        ({"person": ["PRIYA", "BOB"]}, "Choose one."),
        ({"person": "GORDON"}, "disabled in the directory"),
        ({"person": "PRIYA", "role": "owner"}, "not one of the available choices"),
        ({"person": "PRIYA", "group": "CLAIMS"}, "Only a group administrator"),
        ({"person": "PRIYA", "group": "999"}, "not one of the available choices"),
    ],
)
def test_what_the_form_is_sent_is_checked_again(
    admin: Client, standin: StandIn, fields: dict[str, Any], says: str
) -> None:
    names = {
        "PRIYA": standin.person("priya.raman")["id"],
        "BOB": standin.person("bob")["id"],
        "GORDON": standin.person("former.employee")["id"],
        "CLAIMS": str(Group.objects.create(code="claims", name="Claims").pk),
    }
    sent = {
        name: [names.get(each, each) for each in value]
        if isinstance(value, list)
        else names.get(value, value)
        for name, value in fields.items()
    }

    answer = admin.post("/accounts/people/grant/", {"role": "auditor", **sent})

    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert Person.objects.count() == 1


def test_role_held_already_is_told_beside_the_field(admin: Client, standin: StandIn) -> None:
    sent = {"person": standin.person("priya.raman")["id"], "role": "auditor"}
    admin.post("/accounts/people/grant/", sent)

    answer = admin.post("/accounts/people/grant/", sent)

    assert answer.status_code == 422
    assert "has this role already" in answer.content.decode()


def test_directory_down_is_told_in_the_form(admin: Client, standin: StandIn) -> None:
    priya = standin.person("priya.raman")["id"]
    standin.outage("graph")

    answer = admin.post("/accounts/people/grant/", {"person": priya, "role": "auditor"})

    assert answer.status_code == 422
    assert "Microsoft Graph" in answer.content.decode()


def test_access_is_revoked_with_a_reason(admin: Client) -> None:
    bob = person(role="operator")
    assert "What is taken away" in admin.get(f"/accounts/people/{bob.pk}/revoke/").content.decode()

    answer = admin.post(f"/accounts/people/{bob.pk}/revoke/", {"reason": "left"}, headers=HTMX)

    assert answer.status_code == 204
    assert not bob.role_grants.exists()
    assert AuditEntry.objects.get(action="access.revoked").comment == "left"
    assert admin.post(f"/accounts/people/{bob.pk}/revoke/").status_code == 422
    assert admin.get("/accounts/people/999999/revoke/").status_code == 404


def test_role_from_entra_comes_with_a_warning(admin: Client) -> None:
    bob = person()
    bob.role_grants.create(role="operator", source="entra")

    assert "Entra ID gives a role again" in admin.get(f"/accounts/people/{bob.pk}/revoke/").content.decode()


def test_administrator_cannot_lock_herself_out(admin: Client) -> None:
    herself = Person.objects.get()

    answer = admin.post(f"/accounts/people/{herself.pk}/revoke/")

    assert answer.status_code == 422
    assert "your own roles" in answer.content.decode()
    assert herself.role_grants.exists()


def test_sessions_of_somebody_end(admin: Client) -> None:
    bob = person("Bob Nakamura", role="auditor")
    other = Client()
    other.force_login(bob)
    assert other.get("/accounts/people/").status_code == 200

    assert admin.get(f"/accounts/people/{bob.pk}/sign-out/").status_code == 200
    assert admin.post(f"/accounts/people/{bob.pk}/sign-out/", {"reason": "lost laptop"}).status_code == 302

    assert other.get("/accounts/people/").status_code == 302
    assert admin.get("/accounts/people/").status_code == 200


def test_person_of_a_token_is_linked(admin: Client, standin: StandIn) -> None:
    waiting = services.person_without_identity(email="carol@northgate.example", actor=ADMIN)
    page = admin.get("/accounts/people/", {"state": "unlinked"}).content.decode()
    assert "No account" in page
    assert f"/accounts/people/{waiting.pk}/link/" in page
    path = f"/accounts/people/{waiting.pk}/link/"
    assert admin.get(path).status_code == 200
    assert admin.post(path, {}).status_code == 422

    answer = admin.post(path, {"person": standin.person("carol")["id"]})

    assert answer.status_code == 302
    waiting.refresh_from_db()
    assert waiting.name == "Carol Jensen"
    assert admin.get(path).status_code == 404


def test_search_answers_with_lines_for_the_picker(admin: Client, standin: StandIn) -> None:
    bob = standin.person("bob")["id"]

    answer = admin.get(
        "/accounts/find/people/",
        {"field": "owners", "several": "1", "owners_q": "priya", "owners": bob},
        headers=HTMX,
    )

    lines = answer.content.decode()
    assert 'id="id_owners_results"' in lines
    assert lines.index("Bob Nakamura") < lines.index("Priya Raman")
    assert f'<input type="checkbox" name="owners" value="{bob}" checked>' in lines
    assert "Claims operations lead, Claims" in lines


def test_search_answers_with_json(admin: Client, standin: StandIn) -> None:
    answer = admin.get("/accounts/find/people/", {"q": "priya"}, headers={"Accept": "application/json"})

    assert [row["name"] for row in answer.json()["results"]] == ["Priya Raman"]
    standin.outage("graph")
    down = admin.get("/accounts/find/people/", {"q": "priya"}, headers={"Accept": "application/json"})
    assert down.status_code == 503
    assert "Microsoft Graph" in down.json()["error"]


def test_search_for_groups(admin: Client) -> None:
    lines = admin.get(
        "/accounts/find/groups/", {"field": "entra_id", "entra_id_q": "claims"}
    ).content.decode()

    assert "APP-Claims-Letters" in lines
    assert 'type="radio" name="entra_id"' in lines


def test_search_says_that_nothing_was_found_or_nothing_answers(admin: Client, standin: StandIn) -> None:
    assert (
        "Nothing in the directory"
        in admin.get("/accounts/find/people/", {"person_q": "zzzz"}).content.decode()
    )
    standin.outage("graph")
    answer = admin.get("/accounts/find/people/", {"person_q": "priya"})
    assert answer.status_code == 200
    assert "Microsoft Graph" in answer.content.decode()


def test_name_of_the_field_cannot_be_made_up(admin: Client) -> None:
    lines = admin.get("/accounts/find/people/", {"field": '"><script>', "q": "priya"}).content.decode()

    assert "<script>" not in lines
    assert 'name="person"' in lines


def test_directory_is_searched_by_those_who_add_people() -> None:
    assert member().get("/accounts/find/people/", {"q": "priya"}).status_code == 403
    assert signed_in("auditor").get("/accounts/find/people/", {"q": "priya"}).status_code == 403
    assert (
        signed_in("group_admin", "Gina Group").get("/accounts/find/groups/", {"q": "cl"}).status_code == 403
    )

"""Sign in through the stand-in, as a browser does."""

from collections.abc import Callable

import pytest
from django.contrib.auth import authenticate
from django.test import Client, override_settings

from audit.models import AuditEntry
from portal.accounts.entra import discovery
from portal.accounts.models import Person
from projects.models import Project
from tests.identity_fixtures import Browser, StandIn, known, query_of


def test_administrator_signs_in_and_is_known_by_tenant_and_object_id(
    browser: Browser, standin: StandIn
) -> None:
    answer = browser.sign_in("alice", next_url="/projects/?sort=name")

    assert answer.status_code == 302
    assert answer["Location"] == "/projects/?sort=name"
    assert browser.is_signed_in()
    alice = Person.objects.get()
    directory = standin.person("alice")
    assert (str(alice.tid), str(alice.oid)) == (directory["tid"], directory["id"])
    assert alice.email == "alice@northgate.example"
    assert alice.last_sign_in is not None
    assert [(each.role, each.source) for each in alice.role_grants.all()] == [("admin", "entra")]
    actions = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["person.created", "roles.changed", "session.started"]


def test_project_owner_without_app_role_signs_in(browser: Browser, standin: StandIn) -> None:
    bob = known(standin, "bob")
    Project.objects.create(code="claims", name="Claims").memberships.create(person=bob, role="owner")

    assert browser.sign_in("bob").status_code == 302

    assert browser.is_signed_in()
    assert Person.objects.get() == bob
    assert not bob.role_grants.exists()


def test_person_signs_in_with_a_role_granted_here(browser: Browser, standin: StandIn) -> None:
    dave = known(standin, "dave")
    dave.role_grants.create(role="operator", source="portal")

    assert browser.sign_in("dave").status_code == 302

    assert browser.is_signed_in()


def test_person_keeps_the_identity_when_name_and_address_change(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    standin.change("alice", name="Alice Keller-Roth", email="alice.roth@northgate.example")

    browser.sign_in("alice")

    alice = Person.objects.get()
    assert (alice.name, alice.email) == ("Alice Keller-Roth", "alice.roth@northgate.example")


def test_person_with_the_same_address_is_somebody_else(
    browsers: Callable[[], Browser], standin: StandIn
) -> None:
    browsers().sign_in("alice")
    standin.change("eve", roles=["Portal.Auditor"])  # her e-mail attribute is set to Alice's address

    browsers().sign_in("eve")

    alice, eve = Person.objects.order_by("pk")
    assert alice.email == eve.email == "alice@northgate.example"
    assert [grant.role for grant in eve.role_grants.all()] == ["auditor"]
    assert [grant.role for grant in alice.role_grants.all()] == ["admin"]


def test_person_without_identity_is_not_matched_by_address(browser: Browser) -> None:
    waiting = Person.objects.create(name="alice@northgate.example", email="alice@northgate.example")

    browser.sign_in("alice")

    waiting.refresh_from_db()
    assert waiting.oid is None
    assert Person.objects.count() == 2


def test_second_sign_in_goes_through_microsofts_session_and_another_account_does_not(
    browser: Browser,
) -> None:
    browser.sign_in("alice")
    address = browser.begin()
    assert browser.microsoft.get(address, allow_redirects=False, timeout=10).status_code == 302

    address = browser.begin(another="1")

    assert query_of(address)["prompt"] == "select_account"
    assert browser.microsoft.get(address, allow_redirects=False, timeout=10).status_code == 200


def test_request_to_microsoft_has_pkce_state_and_nonce_and_a_fixed_redirect(browser: Browser) -> None:
    query = query_of(browser.begin())

    assert query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 43
    assert len(query["nonce"]) >= 32
    assert len(query["state"]) >= 16
    assert query["response_type"] == "code"
    assert query["response_mode"] == "query"
    assert set(query["scope"].split()) == {"openid", "profile", "email"}
    assert query["redirect_uri"] == "http://testserver/accounts/sign-in/callback/"
    assert query_of(browser.begin())["nonce"] != query["nonce"]


def test_query_string_changes_nothing_of_the_request(browser: Browser) -> None:
    abuse = "scope=Mail.Read&auth_params=prompt%3Dnone%26redirect_uri%3Dhttps://evil.example&process=connect&action=x"

    answer = browser.portal.post(
        f"/accounts/sign-in/microsoft/?{abuse}&next=https://evil.example", {"process": "connect"}
    )

    query = query_of(answer["Location"])
    assert "Mail.Read" not in query["scope"]
    assert query["redirect_uri"] == "http://testserver/accounts/sign-in/callback/"
    assert "prompt" not in query
    state = next(iter(browser.portal.session["socialaccount_states"].values()))[0]
    assert state["process"] == "login"
    assert state["next"] == "/"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "http:///evil.example",
        "javascript:alert(1)",
        "evil",
        "/" + "x" * 2000,
    ],
)
def test_next_leads_nowhere_else(browser: Browser, target: str) -> None:
    assert browser.sign_in("alice", next_url=target)["Location"] == "/"
    assert browser.portal.get("/accounts/sign-in/", {"next": target})["Location"] == "/"


def test_redirect_address_does_not_come_from_the_host_header(browser: Browser) -> None:
    with override_settings(ALLOWED_HOSTS=["*"]):
        answer = browser.portal.post("/accounts/sign-in/microsoft/", headers={"Host": "evil.example"})

    assert query_of(answer["Location"])["redirect_uri"].startswith("http://testserver/")


def test_discovery_and_keys_are_read_once(
    browsers: Callable[[], Browser], standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        discovery, "PROBED", 3600.0
    )  # a slow machine takes longer than the sign of life lasts
    browsers().sign_in("alice")
    before = standin.counters()

    browsers().sign_in("erin")

    after = standin.counters()
    for path in ("/v2.0/.well-known/openid-configuration", "/discovery/v2.0/keys"):
        assert after.get(path, 0) == before.get(path, 0)
    assert after["/oauth2/v2.0/token"] == before["/oauth2/v2.0/token"] + 1


def test_new_signing_key_is_found(
    browsers: Callable[[], Browser], standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    browsers().sign_in("alice")
    standin.control("POST", "rotate-keys")
    # Unknown keys are looked for once a minute at most.
    assert browsers().sign_in("erin").status_code == 401
    monkeypatch.setattr(discovery, "RETRY", 0.0)

    assert browsers().sign_in("erin").status_code == 302


def test_portal_proves_itself_with_a_certificate(browser: Browser, standin: StandIn) -> None:
    certificate, key = standin.environment["GRAPH_CERTIFICATE"], standin.environment["GRAPH_PRIVATE_KEY"]
    with override_settings(ENTRA_CLIENT_SECRET="", ENTRA_CERTIFICATE=certificate, ENTRA_PRIVATE_KEY=key):
        assert browser.sign_in("alice").status_code == 302

    assert browser.is_signed_in()


def test_sign_in_needs_a_form_of_ours(browser: Browser) -> None:
    strict = Client(enforce_csrf_checks=True)

    assert strict.post("/accounts/sign-in/microsoft/").status_code == 403
    assert browser.portal.get("/accounts/sign-in/microsoft/").status_code == 405


def test_sign_in_page_offers_nothing_but_microsoft(browser: Browser) -> None:
    page = browser.portal.get("/accounts/sign-in/", {"next": "/projects/"}).content.decode()

    assert "Sign in with Microsoft" in page
    assert 'name="next" value="/projects/"' in page
    assert "password" not in page.lower()


def test_there_are_no_local_doors(browser: Browser) -> None:
    doors = ("login", "signup", "password/reset", "password/change", "email", "3rdparty", "social/signup")
    for door in (*(f"/accounts/{each}/" for each in doors), "/admin/", "/admin/login/"):
        assert browser.portal.get(door).status_code == 404
    assert authenticate(username="alice", password="secret", email="alice@northgate.example") is None
    assert not hasattr(Person, "password") or Person.password is None

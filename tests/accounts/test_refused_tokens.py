"""What the portal must refuse: each token and each answer with one thing wrong, through the real protocol."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from audit.models import AuditEntry
from portal.accounts.entra.id_token import holds_nonce
from portal.accounts.models import Person
from tests.identity_fixtures import Browser, StandIn, query_of, replaced

FOREIGN = "66666666-0000-4000-8000-000000000000"
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"

WRONG_TOKENS: dict[str, dict[str, Any]] = {
    "issuer of another tenant": {"claims": {"iss": f"https://login.microsoftonline.com/{FOREIGN}/v2.0"}},
    "issuer with a slash more": {"claims": {"iss": "http://localhost/v2.0/"}},
    "audience of another application": {"claims": {"aud": str(uuid.uuid4())}},
    "audience as a list": {"claims": {"aud": ["8d2f6b04-55c1-4f0e-9b7a-2c4e6a8d0f13", "other"]}},
    "an access token instead": {"claims": {"aud": "https://graph.microsoft.com"}, "drop": ["nonce"]},
    "nonce of another sign-in": {"claims": {"nonce": "attacker"}},
    "nonce that is no text": {"claims": {"nonce": 1}},
    "no nonce": {"drop": ["nonce"]},
    "tenant of somebody else": {"claims": {"tid": FOREIGN}},
    "tenant of personal accounts": {"claims": {"tid": PERSONAL}},
    "no tenant": {"drop": ["tid"]},
    "no object id": {"drop": ["oid"]},
    "object id that is none": {"claims": {"oid": "alice"}},
    "object id that is no text": {"claims": {"oid": 7}},
    "no subject": {"drop": ["sub"]},
    "no expiry": {"drop": ["exp"]},
    "expired": {"claims": {"exp": int(time.time()) - 120}},
    "not valid yet": {"claims": {"nbf": int(time.time()) + 3600}},
    "issued in the future": {"claims": {"iat": int(time.time()) + 3600}},
    "version 1.0": {"claims": {"ver": "1.0"}},
    "unsigned": {"forge": "none"},
    "signed with the public key as secret": {"forge": "HS256"},
    "signed by a stranger under our key's name": {"forge": "stranger"},
    "signed with a key nobody has": {"header": {"kid": "unknown"}, "forge": "stranger"},
    "signed with another algorithm": {"header": {"alg": "PS256"}},
    "a key offered by the token": {
        "header": {"jku": "https://evil.example/keys", "kid": "evil"},
        "forge": "stranger",
    },
}


@pytest.mark.parametrize("name", WRONG_TOKENS)
def test_token_is_refused(browser: Browser, standin: StandIn, name: str) -> None:
    standin.distort(**WRONG_TOKENS[name])

    answer = browser.sign_in("alice")

    refused(browser, answer, 401)
    assert AuditEntry.objects.filter(action="session.refused", outcome="refused").count() == 1


def test_the_same_token_is_accepted_when_nothing_is_wrong(browser: Browser, standin: StandIn) -> None:
    standin.distort(claims={})

    assert browser.sign_in("alice").status_code == 302


def test_a_minute_of_clock_difference_is_allowed(browser: Browser, standin: StandIn) -> None:
    standin.distort(claims={"exp": int(time.time()) - 30, "nbf": int(time.time()) + 30})

    assert browser.sign_in("alice").status_code == 302


def test_changed_state_is_refused(browser: Browser) -> None:
    address = browser.choose(browser.begin(), "alice")

    refused(browser, browser.come_back(replaced(address, "state", "AAAAAAAAAAAAAAAA")), 400)


def test_answer_in_another_browser_is_refused(browsers: Callable[[], Browser]) -> None:
    victim, attacker = browsers(), browsers()
    address = attacker.choose(attacker.begin(), "mallory")

    refused(victim, victim.come_back(address), 400)


def test_replayed_answer_is_refused(browser: Browser) -> None:
    address = browser.choose(browser.begin(), "alice")
    assert browser.come_back(address).status_code == 302

    assert browser.come_back(address).status_code == 400


def test_code_of_somebody_else_is_refused(browsers: Callable[[], Browser]) -> None:
    victim, attacker = browsers(), browsers()
    stolen = query_of(victim.choose(victim.begin(), "alice"))["code"]
    address = attacker.choose(attacker.begin(), "erin")

    refused(attacker, attacker.come_back(replaced(address, "code", stolen)), 401)


def test_other_code_challenge_is_refused(browser: Browser) -> None:
    address = replaced(browser.begin(), "code_challenge", "A" * 43)

    refused(browser, browser.come_back(browser.choose(address, "alice")), 401)


def test_other_nonce_in_the_request_is_refused(browser: Browser) -> None:
    address = replaced(browser.begin(), "nonce", "attacker")

    refused(browser, browser.come_back(browser.choose(address, "alice")), 401)


def test_state_is_good_for_ten_minutes(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    address = browser.choose(browser.begin(), "alice")
    monkeypatch.setattr("allauth.socialaccount.internal.statekit.STATE_TTL", -1)

    refused(browser, browser.come_back(address), 400)


def test_account_of_another_tenant_with_alices_address_is_refused(browsers: Callable[[], Browser]) -> None:
    browsers().sign_in("alice")
    attacker = browsers()

    answer = attacker.sign_in("mallory")

    assert answer.status_code == 401
    assert not attacker.is_signed_in()
    assert Person.objects.count() == 1


def test_wrong_secret_is_a_clear_page(browser: Browser) -> None:
    with override_settings(ENTRA_CLIENT_SECRET="wrong"):
        refused(browser, browser.sign_in("alice"), 401)
    assert "invalid_client" in AuditEntry.objects.get().reason


def test_answer_without_code_or_state_is_refused(browser: Browser) -> None:
    for query in ("", "?code=x", "?state=x", "?code=x&state=x", "?error=access_denied&state=x"):
        refused(browser, browser.portal.get(f"/accounts/sign-in/callback/{query}"), 400)
    assert browser.portal.post("/accounts/sign-in/callback/").status_code == 405
    assert not AuditEntry.objects.exists()  # anybody can send these, so they do not fill the log


def test_microsoft_down_is_a_clear_page(browser: Browser, standin: StandIn) -> None:
    address = browser.choose(browser.begin(), "alice")
    standin.outage("provider")

    answer = browser.come_back(address)

    refused(browser, answer, 503)


def test_microsoft_unreachable_is_a_clear_page(browser: Browser) -> None:
    with override_settings(ENTRA_AUTHORITY="http://localhost:9"):
        answer = browser.portal.post("/accounts/sign-in/microsoft/")

    assert answer.status_code == 503
    assert "Microsoft does not answer" in answer.content.decode()


def test_unreachable_at_the_answer_is_a_clear_page(browser: Browser) -> None:
    address = browser.choose(browser.begin(), "alice")
    with override_settings(ENTRA_AUTHORITY="http://localhost:9"):
        answer = browser.come_back(address)

    refused(browser, answer, 503)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (
            {
                "error": "interaction_required",
                "error_description": "AADSTS53003: Access has been blocked by Conditional Access policies. "
                "Trace ID: 1c0f Correlation ID: 9d2b <script>",
            },
            ["AADSTS53003", "Conditional Access", "Correlation ID: 9d2b &lt;script&gt;"],
        ),
        ({"error": "server_error"}, ["server_error"]),
        ({"error": "access_denied"}, ["Sign-in cancelled"]),
    ],
)
def test_error_from_microsoft_is_shown_as_text(
    browser: Browser, query: dict[str, str], shown: list[str]
) -> None:
    state = query_of(browser.begin())["state"]

    answer = browser.portal.get("/accounts/sign-in/callback/", {**query, "state": state})

    refused(browser, answer, 403)
    for text in shown:
        assert text in answer.content.decode()
    assert AuditEntry.objects.get().outcome == "refused"


def test_conditional_access_at_microsoft(browser: Browser, standin: StandIn) -> None:
    standin.change("alice", sign_in_error="AADSTS53003: Blocked by Conditional Access. Correlation ID: 77aa")

    answer = browser.sign_in("alice")

    refused(browser, answer, 403)
    assert "AADSTS53003" in answer.content.decode()


def test_error_of_a_stranger_is_not_shown(browser: Browser) -> None:
    query = {"error": "x", "error_description": "AADSTS1: call this number", "state": "made-up"}

    answer = browser.portal.get("/accounts/sign-in/callback/", query)

    assert "call this number" not in answer.content.decode()


@pytest.mark.parametrize("nonce", ["", None, 7, ["x"]])
def test_nonce_must_be_text_on_both_sides(nonce: object) -> None:
    assert not holds_nonce({"nonce": nonce}, nonce)
    assert not holds_nonce({}, nonce)


def refused(browser: Browser, answer: Any, status: int) -> None:
    """Nobody is signed in, nobody was made, and the page says so."""
    assert answer.status_code == status, answer.content.decode()
    assert answer["Content-Type"].startswith("text/html")
    assert not browser.is_signed_in()
    assert not Person.objects.exists()

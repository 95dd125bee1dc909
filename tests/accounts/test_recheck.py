"""Every quarter of an hour Microsoft is asked silently; and Microsoft ends sessions by itself."""

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from audit.models import AuditEntry
from portal.accounts import recheck
from portal.accounts.models import Session
from portal.accounts.sessions import CHECKED
from portal.accounts.views import sign_in
from tests.identity_fixtures import Browser, StandIn, query_of

PAGE = "/accounts/people/"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask Microsoft anew each time whether it answers."""
    monkeypatch.setattr("portal.accounts.entra.discovery.PROBED", -1)


def age(browser: Browser, seconds: int = recheck.EVERY + 1) -> None:
    """Let the last check be that long ago."""
    session = browser.portal.session
    session[CHECKED] -= seconds
    session.save()


def silently(browser: Browser) -> Any:
    """Open a page, go by Microsoft without a word, and return the portal's answer."""
    asked = browser.portal.get(PAGE)
    assert asked.status_code == 302
    query = query_of(asked["Location"])
    assert query["prompt"] == "none"
    assert query["login_hint"]
    there = browser.microsoft.get(asked["Location"], allow_redirects=False, timeout=10)
    return browser.come_back(there.headers["Location"])


def test_page_goes_by_microsoft_once_in_a_quarter_of_an_hour(browser: Browser) -> None:
    browser.sign_in("alice")
    assert browser.portal.get(PAGE).status_code == 200
    age(browser)

    assert silently(browser)["Location"] == PAGE

    assert browser.portal.get(PAGE).status_code == 200
    assert AuditEntry.objects.filter(action="session.started").count() == 1


def test_disabled_account_is_out_and_told_to_sign_in(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    standin.change("alice", enabled=False)
    age(browser)

    answer = silently(browser)

    assert answer["Location"] == f"/accounts/sign-in/?next={PAGE.replace('/', '%2F')}"
    assert not browser.is_signed_in()
    assert not Session.objects.filter(person__isnull=False).exists()
    assert "does not confirm" in AuditEntry.objects.get(action="session.closed").comment


def test_role_taken_away_in_entra_is_gone_after_the_check(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    standin.change("alice", roles=["Portal.Operator"])
    age(browser)

    silently(browser)

    assert browser.portal.get(PAGE).status_code == 403


def test_another_account_at_microsoft_ends_the_session(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    standin.distort(claims={"oid": standin.person("erin")["id"]})
    age(browser)

    silently(browser)

    assert not browser.is_signed_in()


def test_outage_lets_sessions_go_on(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    age(browser)
    standin.outage("provider")

    assert browser.portal.get(PAGE).status_code == 200
    standin.outage()
    assert browser.portal.get(PAGE).status_code == 200  # the next try is a minute later
    session = browser.portal.session
    session[recheck.TRIED] -= recheck.AGAIN
    session.save()
    assert silently(browser)["Location"] == PAGE


def test_outage_of_the_directory_during_a_check_lets_the_session_go_on(
    browser: Browser, standin: StandIn
) -> None:
    standin.change("grace.adeyemi", roles=["Portal.Auditor"])
    browser.sign_in("grace.adeyemi")
    standin.distort(claims={"_claim_names": {"groups": "src1"}})
    standin.outage("graph")
    age(browser)

    assert silently(browser)["Location"] == PAGE
    assert browser.is_signed_in()


def test_parts_of_a_page_and_forms_are_never_sent_away(browser: Browser) -> None:
    browser.sign_in("alice")
    age(browser)

    assert browser.portal.get(PAGE, headers={"HX-Request": "true"}).status_code == 200
    assert browser.portal.get(PAGE, headers={"Sec-Fetch-Mode": "cors"}).status_code == 200
    assert browser.portal.post("/projects/new/").status_code == 422


def test_new_sign_in_during_an_outage_says_so(browser: Browser, standin: StandIn) -> None:
    standin.outage("provider")

    answer = browser.portal.post("/accounts/sign-in/microsoft/")

    assert answer.status_code == 503
    assert "Microsoft does not answer" in answer.content.decode()


def test_sign_out_at_microsoft_ends_the_sessions_it_names_without_a_cookie(browser: Browser) -> None:
    browser.sign_in("alice")
    sid = Session.objects.get(person__isnull=False).sid
    microsoft = Client()

    assert microsoft.get("/accounts/signed-out/by-microsoft/", {"sid": "unknown"}).status_code == 200
    assert microsoft.get("/accounts/signed-out/by-microsoft/").status_code == 200
    assert (
        microsoft.get(
            "/accounts/signed-out/by-microsoft/", {"sid": sid, "iss": "https://elsewhere.example"}
        ).status_code
        == 200
    )
    assert browser.is_signed_in()

    answer = microsoft.get("/accounts/signed-out/by-microsoft/", {"sid": sid})

    assert (answer.status_code, answer.content, answer["Cache-Control"]) == (200, b"", "no-store")
    assert not answer.cookies
    assert not browser.is_signed_in()
    assert AuditEntry.objects.get(action="session.closed").comment == "Signed out at Microsoft."


def test_front_channel_is_limited(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.clear()
    monkeypatch.setattr(sign_in, "MOST_A_MINUTE", 2)
    browser.sign_in("alice")
    sid = Session.objects.get(person__isnull=False).sid
    for _ in range(2):
        browser.portal.get("/accounts/signed-out/by-microsoft/", {"sid": "x"})

    assert browser.portal.get("/accounts/signed-out/by-microsoft/", {"sid": sid}).status_code == 200

    assert browser.is_signed_in()


def test_refusal_by_microsoft_is_shown_with_its_correlation_id(browser: Browser, standin: StandIn) -> None:
    text = "AADSTS53003: Blocked by Conditional Access. Correlation ID: 3f7c1a52-8e0b-4c53-9a3d-6f2b7d9e1c04"
    standin.change("alice", sign_in_error=text)

    answer = browser.sign_in("alice")

    page = answer.content.decode()
    assert answer.status_code == 403
    assert "<code>AADSTS53003</code>" in page
    assert "<code>3f7c1a52-8e0b-4c53-9a3d-6f2b7d9e1c04</code>" in page
    assert "AADSTS53003" in AuditEntry.objects.get(action="session.refused").reason

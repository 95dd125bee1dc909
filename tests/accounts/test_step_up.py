"""Confirm that it is you: what a fresh sign-in is, what it opens, and for how long."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import include, path

from audit.models import AuditEntry
from portal.accounts import step_up
from portal.accounts.access import require
from portal.accounts.policy import Right
from portal.accounts.step_up import Guarded
from tests.identity_fixtures import Browser, StandIn, query_of


@require(Right.SEE_PEOPLE)
@step_up.step_up(Guarded.ACCESS)
def guarded(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.method} {request.POST.get('name', '')}")


urlpatterns = [path("guarded/", guarded), path("", include("portal.urls"))]


@pytest.fixture(autouse=True)
def addresses() -> Any:
    """Add a guarded page to the portal."""
    with override_settings(ROOT_URLCONF=__name__):
        yield


def asked_to_confirm(answer: Any) -> dict[str, str]:
    """Return what the confirmation page is asked with."""
    assert answer.status_code == 302, answer.content
    assert answer["Location"].startswith("/accounts/confirm/?")
    return query_of(answer["Location"])


def confirm(browser: Browser, who: str = "alice", **asked: str) -> Any:
    """Go to Microsoft, choose the account anew, and come back."""
    answer = browser.portal.post("/accounts/confirm/", asked or {"kind": "access", "next": "/guarded/"})
    assert answer.status_code == 302, answer.content.decode()
    return browser.come_back(browser.choose(answer["Location"], who))


def test_guarded_page_opens_after_a_fresh_sign_in_under_a_new_session_key(browser: Browser) -> None:
    browser.sign_in("alice")
    asked = asked_to_confirm(browser.portal.get("/guarded/?x=1"))
    assert asked == {"kind": "access", "next": "/guarded/?x=1"}
    page = browser.portal.get("/accounts/confirm/", asked).content.decode()
    assert "To change who may do what, sign in once more" in page
    before = browser.portal.session.session_key

    answer = confirm(browser, **asked)

    assert answer["Location"] == "/guarded/?x=1"
    assert browser.portal.session.session_key != before
    assert browser.portal.get("/guarded/").content == b"GET "
    entry = AuditEntry.objects.get(action="session.confirmed")
    assert (entry.outcome, entry.changes["for"]) == ("success", [None, "access"])


def test_microsoft_is_asked_for_a_young_sign_in_of_this_account(browser: Browser) -> None:
    browser.sign_in("alice")

    answer = browser.portal.post("/accounts/confirm/", {"kind": "access", "next": "/guarded/"})

    query = query_of(answer["Location"])
    assert query["max_age"] == "300"
    assert query["login_hint"]
    assert query["claims"] == '{"id_token":{"auth_time":{"essential":true}}}'
    assert query["nonce"]
    assert query["code_challenge_method"] == "S256"


def test_grant_is_for_one_class_of_actions_one_session_and_ten_minutes(
    browsers: Callable[[], Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = browsers(), browsers()
    first.sign_in("alice")
    second.sign_in("alice")
    confirm(first, kind="prices", next="/guarded/")
    asked_to_confirm(first.portal.get("/guarded/"))
    confirm(first)
    assert first.portal.get("/guarded/").status_code == 200
    asked_to_confirm(second.portal.get("/guarded/"))

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 601)

    asked_to_confirm(first.portal.get("/guarded/"))


def test_what_a_form_had_sent_is_sent_by_the_persons_own_click_afterwards(browser: Browser) -> None:
    browser.sign_in("alice")
    answer = browser.portal.post(
        "/guarded/",
        {"name": '"><b>Bob', "csrfmiddlewaretoken": "x"},
        headers={"Referer": "http://testserver/accounts/people/?q=bob"},
    )
    asked = asked_to_confirm(answer)
    assert asked["next"] == "/accounts/people/?q=bob"
    assert "Bob" not in json.dumps(dict(browser.portal.session.items())), "the session lies in the database"

    back = confirm(browser, **asked)

    page = browser.portal.get(back["Location"])
    text = page.content.decode()
    assert 'action="/guarded/"' in text
    assert 'name="name" value="&quot;&gt;&lt;b&gt;Bob"' in text
    assert 'value="x"' not in text
    assert browser.portal.post("/guarded/", {"name": "Bob"}).content == b"POST Bob"
    assert "No form is waiting" in browser.portal.get(back["Location"]).content.decode()  # kept for once


def test_strangers_are_refused_before_they_are_asked(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("lars.holt")  # an operator: sees no people

    assert browser.portal.get("/guarded/").status_code == 403


@pytest.mark.parametrize(
    "distortion",
    [
        {"claims": {"auth_time": int(time.time()) - 3600}},
        {"drop": ["auth_time"]},
        {"claims": {"auth_time": "now"}},
        {"claims": {"auth_time": int(time.time()) + 3600}},
        {"claims": {"auth_time": 0, "acrs": ["c1"]}},  # no context is mapped
    ],
)
def test_sign_in_that_is_not_fresh_is_refused_and_the_session_goes_on(
    browser: Browser, standin: StandIn, distortion: dict[str, Any]
) -> None:
    browser.sign_in("alice")
    standin.distort(**distortion)

    answer = confirm(browser)

    assert answer.status_code == 403
    assert "neither auth_time nor acrs proves it" in answer.content.decode()
    assert AuditEntry.objects.get(action="session.confirmed").outcome == "refused"
    asked_to_confirm(browser.portal.get("/guarded/"))


def test_mapped_authentication_context_counts_whatever_the_age(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    standin.distort(drop=["auth_time"])

    with override_settings(ENTRA_STEP_UP={"access": "c3"}):
        answer = browser.portal.post("/accounts/confirm/", {"kind": "access", "next": "/guarded/"})
        assert '"acrs":{"essential":true,"value":"c3"}' in query_of(answer["Location"])["claims"]
        browser.come_back(browser.choose(answer["Location"], "alice"))

        assert browser.portal.get("/guarded/").status_code == 200


def test_another_context_does_not_count(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    standin.distort(claims={"acrs": ["c1"]}, drop=["auth_time"])

    with override_settings(ENTRA_STEP_UP={"*": "c3"}):
        assert confirm(browser).status_code == 403


def test_confirmation_by_another_account_is_refused(browser: Browser) -> None:
    browser.sign_in("alice")
    browser.microsoft.cookies.clear()

    answer = confirm(browser, "erin")

    assert answer.status_code == 403
    assert "not the one that is signed in here" in answer.content.decode()
    assert browser.is_signed_in()
    asked_to_confirm(browser.portal.get("/guarded/"))


def test_token_of_another_attempt_is_refused(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    standin.distort(claims={"nonce": "another"})

    assert confirm(browser).status_code == 401
    asked_to_confirm(browser.portal.get("/guarded/"))


def test_outage_of_microsoft_is_said_and_the_session_goes_on(
    browser: Browser, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.sign_in("alice")
    standin.outage("provider")
    monkeypatch.setattr("portal.accounts.entra.discovery.PROBED", -1)

    answer = browser.portal.post("/accounts/confirm/", {"kind": "access", "next": "/guarded/"})

    assert answer.status_code == 503
    assert "Microsoft does not answer" in answer.content.decode()
    assert browser.portal.get("/accounts/people/").status_code == 200

"""How sessions end: sign-out, limits, and rights that are taken away."""

from collections.abc import Callable

import pytest
from django.test import Client, override_settings

from audit.models import AuditEntry
from portal.accounts import services, sessions
from portal.accounts.conf import idle_seconds
from portal.accounts.models import Person, Session
from portal.accounts.sessions import SessionStore
from portal.accounts.tasks import clear_sessions
from tests.accounts.cast import ADMIN, person
from tests.identity_fixtures import Browser, StandIn, query_of

PAGE = "/accounts/people/"


def test_sign_out_ends_the_session_here_and_at_microsoft(browser: Browser) -> None:
    browser.sign_in("alice")

    answer = browser.portal.post("/accounts/sign-out/")

    assert answer.status_code == 302
    assert answer["Clear-Site-Data"] == '"cache", "storage"'
    query = query_of(answer["Location"])
    assert query["post_logout_redirect_uri"] == "http://testserver/accounts/signed-out/"
    assert query["logout_hint"]
    assert not Session.objects.exists()
    assert not browser.is_signed_in()
    assert AuditEntry.objects.filter(action="session.ended").count() == 1

    back = browser.microsoft.get(answer["Location"], allow_redirects=False, timeout=10)

    assert back.headers["Location"] == "http://testserver/accounts/signed-out/"
    assert "You are signed out" in browser.come_back(back.headers["Location"]).content.decode()
    address = browser.begin()  # Microsoft asks again
    assert browser.microsoft.get(address, allow_redirects=False, timeout=10).status_code == 200


def test_sign_out_names_the_account_by_its_token_where_there_is_no_hint(
    browser: Browser, standin: StandIn
) -> None:
    standin.distort(drop=["login_hint"])
    browser.sign_in("alice")

    answer = browser.portal.post("/accounts/sign-out/")

    assert query_of(answer["Location"])["id_token_hint"].count(".") == 2
    back = browser.microsoft.get(answer["Location"], allow_redirects=False, timeout=10)
    assert back.status_code == 302


def test_sign_out_is_a_form(browser: Browser) -> None:
    browser.sign_in("alice")

    assert browser.portal.get("/accounts/sign-out/").status_code == 405
    assert browser.is_signed_in()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser.portal.cookies
    assert strict.post("/accounts/sign-out/").status_code == 403


def test_sign_in_starts_under_a_new_key(browser: Browser) -> None:
    address = browser.choose(browser.begin(), "alice")
    before = browser.portal.session.session_key

    browser.come_back(address)

    assert browser.portal.session.session_key != before
    assert not Session.objects.filter(session_key=before).exists()


def test_revoked_person_is_out_at_the_next_request(browser: Browser) -> None:
    browser.sign_in("erin")
    assert browser.portal.get(PAGE).status_code == 200

    services.revoke_access(person=Person.objects.get(), actor=ADMIN)

    answer = browser.portal.get(PAGE)
    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/sign-in/?next=/accounts/people/"


def test_role_taken_away_in_the_database_holds_at_the_next_request(browser: Browser) -> None:
    browser.sign_in("erin")
    erin = Person.objects.get()
    erin.role_grants.create(role="operator", source="portal")
    erin.role_grants.filter(role="auditor").delete()

    assert browser.portal.get(PAGE).status_code == 403
    erin.role_grants.all().delete()
    assert not browser.is_signed_in()


def test_sign_out_everywhere(browsers: Callable[[], Browser]) -> None:
    first, second = browsers(), browsers()
    first.sign_in("alice")
    second.sign_in("alice")
    assert first.is_signed_in()
    assert second.is_signed_in()

    services.sign_out_everywhere(person=Person.objects.get(), actor=ADMIN, reason="lost laptop")

    assert not first.is_signed_in()
    assert not second.is_signed_in()
    assert AuditEntry.objects.filter(action="sessions.ended", comment="lost laptop").exists()
    assert first.sign_in("alice").status_code == 302


@pytest.mark.parametrize(
    ("key", "setting"),
    [(sessions.SEEN, "SESSION_IDLE_SECONDS"), (sessions.SIGNED_IN, "SESSION_COOKIE_AGE")],
)
def test_session_ends_at_its_limit(client: Client, db: None, key: str, setting: str) -> None:
    client.force_login(person(role="auditor"))
    assert client.get(PAGE).status_code == 200
    from django.conf import settings

    session = client.session
    session[key] = session[key] - getattr(settings, setting) + 30
    session.save()
    assert client.get(PAGE).status_code == 200
    session = client.session
    session[key] = session[key] - getattr(settings, setting) - 30
    session.save()

    assert client.get(PAGE).status_code == 302
    assert not Session.objects.filter(session_key=session.session_key).exists()


def test_limits_are_thirty_minutes_and_ten_hours() -> None:
    from django.conf import settings

    assert idle_seconds() == 30 * 60
    assert settings.SESSION_COOKIE_AGE == 10 * 3600


def test_visitor_comes_back_to_the_page_but_not_to_a_form(client: Client, db: None) -> None:
    assert client.get(PAGE + "?q=x")["Location"] == "/accounts/sign-in/?next=/accounts/people/%3Fq%3Dx"
    assert client.post("/accounts/people/grant/")["Location"] == "/accounts/sign-in/"


def test_htmx_gets_the_sign_in_page_as_a_page(client: Client, db: None) -> None:
    answer = client.get(
        PAGE, headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/accounts/people/"}
    )

    assert answer.status_code == 204
    assert answer["HX-Redirect"].startswith("/accounts/sign-in/")


def test_secret_key_can_be_replaced_without_signing_everybody_out(client: Client, db: None) -> None:
    client.force_login(person(role="auditor"))
    from django.conf import settings

    with override_settings(SECRET_KEY="a new one", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert client.get(PAGE).status_code == 200
    with override_settings(SECRET_KEY="yet another one", SECRET_KEY_FALLBACKS=[]):
        assert client.get(PAGE).status_code == 302


def test_sessions_that_are_over_leave_the_database_at_night(clean_state: None) -> None:
    over, going_on = SessionStore(), SessionStore()
    over.set_expiry(-1)
    for session in (over, going_on):
        session.save()

    clear_sessions()

    assert list(Session.objects.values_list("session_key", flat=True)) == [going_on.session_key]

"""What every response carries: pages, regions, errors, downloads, static files, redirects."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.checks import Tags, run_checks
from django.core.management import call_command
from django.test import Client, override_settings

from portal.web.conf import MIDDLEWARE, security_settings
from portal.web.storage import StaticFiles
from tests.web.conftest import site

PATHS = {
    "/projects/": 200,
    "/export/": 200,
    "/ended/": 302,
    "/forbidden/": 403,
    "/nothing/": 404,
    "/broken/": 500,
    "/away/": 503,
    "/static/css/tokens.css": 200,
}


@pytest.fixture
def quiet() -> Client:
    """A browser that gets the error page where the test client would raise."""
    return Client(raise_request_exception=False)


@pytest.mark.parametrize(("path", "status"), PATHS.items())
@pytest.mark.parametrize("htmx", [False, True])
def test_every_response_carries_the_headers(
    sample: Client, quiet: Client, path: str, status: int, htmx: bool
) -> None:
    ask = quiet.head if path.startswith("/static/") else quiet.get
    response = ask(path, headers={"HX-Request": "true"} if htmx else {})
    assert response.status_code == (204 if htmx and status == 302 else status)
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://login.microsoftonline.com" in policy
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["X-Frame-Options"] == "DENY"
    assert "camera=()" in response["Permissions-Policy"]
    assert response["Reporting-Endpoints"] == 'csp="/csp-reports/"'
    assert re.fullmatch(r"[0-9a-f-]{36}", response["X-Request-ID"])
    if not path.startswith("/static/"):
        assert response["Cache-Control"] == "no-store"
        vary = {name.strip() for name in response["Vary"].split(",")}
        assert {"HX-Request", "Cookie"} <= vary
    else:
        assert "no-store" not in response["Cache-Control"]


def test_a_host_that_is_not_ours_gets_the_headers_too(sample: Client, quiet: Client) -> None:
    response = quiet.get("/projects/", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert response["Cache-Control"] == "no-store"


def test_scripts_of_a_page_carry_its_nonce_and_regions_none(sample: Client) -> None:
    pages = [sample.get("/projects/") for _ in range(2)]
    nonces = [re.findall(r"'nonce-([^']+)'", page["Content-Security-Policy"]) for page in pages]
    assert nonces[0] != nonces[1]
    for page, [nonce] in zip(pages, nonces, strict=True):
        scripts = re.findall(r"<script[^>]*>", page.content.decode())
        assert len(scripts) == 2
        assert all(f'nonce="{nonce}"' in script for script in scripts)
    region = sample.get("/projects/", headers={"HX-Request": "true"})
    assert "nonce" not in region["Content-Security-Policy"]
    assert "<script" not in region.content.decode()


def test_a_change_from_another_site_is_refused(sample: Client) -> None:
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert sample.post("/issue/", headers=cross).status_code == 403
    assert sample.get("/projects/", headers=cross).status_code == 200
    for own in ("same-origin", "none", ""):
        assert sample.post("/issue/", headers={"Sec-Fetch-Site": own}).status_code == 200


def test_a_change_without_a_token_is_refused_with_a_sentence(sample: Client) -> None:
    client = Client(enforce_csrf_checks=True)
    page = client.post("/issue/")
    assert page.status_code == 403
    assert "Load the page again" in page.content.decode()
    told = client.post("/issue/", headers={"HX-Request": "true"})
    assert told["Content-Type"] == "text/plain"
    assert "Load the page again" in told.content.decode()


def test_cookies_follow_the_address_of_the_portal() -> None:
    plain, secure = security_settings("http://127.0.0.1:8000"), security_settings("https://llm.example")
    assert plain["SESSION_COOKIE_NAME"] == "sessionid"
    assert not plain["SESSION_COOKIE_SECURE"]
    assert plain["SECURE_HSTS_SECONDS"] == 0
    assert secure["SESSION_COOKIE_NAME"] == "__Host-sessionid"
    assert secure["CSRF_COOKIE_NAME"] == "__Host-csrftoken"
    assert secure["SESSION_COOKIE_SECURE"]
    assert secure["CSRF_COOKIE_SECURE"]
    assert secure["SECURE_SSL_REDIRECT"]
    assert secure["SECURE_HSTS_SECONDS"] == 31536000
    assert secure["SECURE_PROXY_SSL_HEADER"] is None
    assert security_settings("https://llm.example", proxies=1)["SECURE_PROXY_SSL_HEADER"]


def test_preloading_is_the_one_thing_a_deployment_is_not_warned_about(sample: Client) -> None:
    assert settings.SILENCED_SYSTEM_CHECKS == ["security.W021"]
    with site("https://testserver"), override_settings(SECRET_KEY="0123456789abcdefghij" * 4, DEBUG=False):
        found = run_checks(tags=[Tags.security], include_deployment_checks=True)
        header = Client().get("/projects/", secure=True)["Strict-Transport-Security"]
    django = [message.id for message in found if str(message.id).startswith("security.")]
    assert django == ["security.W021"]
    assert "preload" not in header


def test_forms_may_lead_to_the_issuer_and_nowhere_else() -> None:
    directives = security_settings("http://127.0.0.1", "http://localhost:9000/tenant/v2.0")[
        "CONTENT_SECURITY_POLICY"
    ]["DIRECTIVES"]
    assert directives["form-action"] == ["'self'", "http://localhost:9000"]


def test_an_https_portal_sends_browsers_there_and_keeps_them(sample: Client) -> None:
    with site("https://testserver"):
        client = Client()
        assert client.get("/projects/")["Location"] == "https://testserver/projects/"
        page = client.get("/projects/", secure=True)
        assert page["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
        cookie = page.cookies["__Host-csrftoken"]
        assert cookie["secure"]
        assert cookie["httponly"]
        assert cookie["path"] == "/"
        assert cookie["domain"] == ""


def test_the_settings_use_this_order() -> None:
    assert tuple(settings.MIDDLEWARE) == MIDDLEWARE
    assert security_settings("http://127.0.0.1")["SHELL"] == settings.SHELL  # type: ignore[misc]


def test_reports_of_browsers_are_logged_once_and_short(
    sample: Client, caplog: pytest.LogCaptureFixture
) -> None:
    report: list[object] = [
        {"body": {"effectiveDirective": "img-src", "blockedURL": "https://evil\n" + "x" * 999}},
        "nothing",
    ]
    bodies: list[Any] = [report, report, "]", {"a": 1}, ["x" * 20_000], [[[[]]]]]
    for body in bodies:
        response = sample.post("/csp-reports/", body, content_type="application/reports+json")
        assert response.status_code == 204
    [record] = caplog.records
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 400


def test_static_files_are_served_from_their_sources_or_collected_for_good(tmp_path: Path) -> None:
    assert staticfiles_storage.url("js/portal.js") == "/static/js/portal.js"
    with site(), override_settings(STATIC_ROOT=tmp_path):
        call_command("collectstatic", interactive=False, verbosity=0)
        assert re.fullmatch(r"/static/js/portal\.[0-9a-f]{12}\.js", StaticFiles().url("js/portal.js"))
        with override_settings(WHITENOISE_AUTOREFRESH=False, WHITENOISE_USE_FINDERS=False):
            response = Client().head(StaticFiles().url("js/portal.js"))
    assert response["Cache-Control"] == "max-age=315360000, public, immutable"
    assert response["Content-Security-Policy"]

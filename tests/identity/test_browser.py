"""Sign-in in a real browser: the portal's own processes, the stand-in, Chromium, and the policy headers of both."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.core.management import call_command
from django.test import override_settings
from playwright.sync_api import Page, expect, sync_playwright

from tests.chromium import find
from tests.identity_fixtures import running_standin
from tests.web_processes import WebProcesses

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# What the browser says of an answer that is an error.
EXPECTED = re.compile(r"Failed to load resource|Response Status Error Code")


@pytest.fixture
def portal(clean_state: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A portal that runs as in production, and a stand-in that it signs people in with."""
    static = tmp_path / "static"
    with override_settings(STATIC_ROOT=static):
        call_command("collectstatic", verbosity=0, interactive=False)
    web = WebProcesses(tmp_path / "web.log")
    with running_standin(tmp_path, web.url) as standin:
        for name, value in {**standin.environment, "PORTAL_STATIC_ROOT": str(static)}.items():
            monkeypatch.setenv(name, value)
        web.start()
        yield web.url
        web.stop()


@pytest.fixture(params=["light", "dark"])
def page(portal: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A window; anything the browser refuses or the script throws fails the test."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox", "--disable-gpu"])
        context = chromium.new_context(base_url=portal, color_scheme=request.param, reduced_motion="reduce")
        page, said = context.new_page(), []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
        yield page
        chromium.close()
        assert [text for text in said if not EXPECTED.match(text)] == []


def test_sign_in_grant_a_role_and_sign_out(page: Page) -> None:
    page.goto("/accounts/people/")
    is_accessible(page)
    page.get_by_role("button", name="Sign in with Microsoft").click()
    expect(page.get_by_text("Stand-in for Microsoft sign-in", exact=True)).to_be_visible()
    is_accessible(page)

    page.get_by_role("button", name="jonas.weber@northgate.example").click()
    expect(page.get_by_role("heading", name="You need to be granted access")).to_be_visible()
    assert [cookie["name"] for cookie in page.context.cookies() if cookie["name"] == "sessionid"] == []
    is_accessible(page)

    page.get_by_role("button", name="Use another account").click()
    page.get_by_role("button", name="elena.marsh@northgate.example").click()
    page.goto("/accounts/people/")
    is_accessible(page)

    page.get_by_role("link", name="Grant a role").click()
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    is_accessible(page)
    page.get_by_role("button", name="Continue at Microsoft").click()
    page.get_by_role("button", name="elena.marsh@northgate.example").click()
    dialog = page.get_by_role("dialog", name="Grant a role")
    dialog.get_by_label("Person").press_sequentially("jonas")
    dialog.get_by_label("Jonas Weber").check()
    dialog.get_by_label("Role").select_option("auditor")
    is_accessible(page)
    dialog.get_by_role("button", name="Grant role").click()
    expect(page.locator("#toasts")).to_contain_text("Jonas Weber is auditor from now on")
    expect(page.locator("#people-table")).to_contain_text("jonas.weber@northgate.example")

    page.get_by_role("button", name="Elena Marsh").last.click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    is_accessible(page)
    page.get_by_role("link", name="Sign in again").click()
    page.get_by_role("button", name="Sign in with Microsoft").click()
    page.get_by_role("button", name="jonas.weber@northgate.example").click()
    page.goto("/accounts/people/")
    expect(page.get_by_role("heading", name="People")).to_be_visible()


def is_accessible(page: Page) -> None:
    """Nothing on the page breaks a rule of WCAG 2.2 AA."""
    found = Axe().run(page, options={"runOnly": RULES}).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []

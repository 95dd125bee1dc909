"""One change of many projects, and projects from a CSV file: with script by keyboard, and without script."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.journeys.conftest import Demo, sign_in
from tests.journeys.test_every_page import OPTIONS

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WRONG = (
    "name,code,group,owners,daily_limit\nLetters,letters,claims,,lots\n,x,nowhere,nobody@nowhere.example,\n"
)
RIGHT = (
    "name,code,group,owners,members,tags\nLetters,letters,claims,priya.raman@northgate.example,,intake\n"
    "Replies,,,,,intake\n"
)


@pytest.fixture
def plain(browser: Browser, portal: Demo) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=portal.url, java_script_enabled=False)
    yield made
    made.close()


def check(page: Page) -> None:
    """Fail where the page at hand breaks a rule of accessibility."""
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate("options => axe.run(document, options)", OPTIONS)["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []


def test_projects_are_paused_and_resumed_together(page: Page) -> None:
    sign_in(page)
    page.goto("/projects/?group=engineering")
    boxes = page.get_by_role("checkbox", name=re.compile("^Select (Code review bot|Developer assistant)$"))
    for box in boxes.all():
        box.focus()
        page.keyboard.press("Space")
    expect(page.locator(".bulk output")).to_have_text("2 selected")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pause 2 projects")
    check(page)
    page.get_by_label("Reason").fill("Cost review")
    page.get_by_role("button", name="Pause 2 projects").click()
    expect(page.locator("#toasts")).to_contain_text("2 projects paused")
    page.goto("/projects/code-review/activity/?q=Cost+review")
    expect(page.locator("tbody tr")).to_have_count(1)

    page.goto("/projects/?group=engineering&state=paused")
    page.get_by_role("checkbox", name="Select Code review bot").check()
    page.get_by_role("button", name="Resume", exact=True).click()
    page.get_by_role("link", name=re.compile("Select all . that match")).click()
    expect(page.locator("#bulk-plan")).to_contain_text("These are all that match the filter.")
    page.get_by_role("button", name=re.compile("Resume . projects")).click()
    expect(page.locator("#toasts")).to_contain_text("projects resumed")


def test_limits_of_many_are_previewed_while_typing(page: Page) -> None:
    sign_in(page)
    page.goto("/projects/bulk/?do=limits&p=code-review&p=dev-assist")
    page.get_by_label("Daily limit").press_sequentially("75")
    expect(page.locator("#bulk-plan tbody tr").first).to_contain_text("$75 a day")
    check(page)
    page.get_by_role("button", name="Set the limits of 2 projects").click()
    expect(page.locator("#toasts")).to_contain_text("2 projects given the limits")


def test_a_file_with_errors_creates_nothing_and_the_corrected_one_does(
    plain: BrowserContext, page: Page
) -> None:
    window = plain.new_page()
    sign_in(window)
    window.goto("/projects/import/")
    window.get_by_label("CSV file").set_input_files(
        {"name": "new.csv", "mimeType": "text/csv", "buffer": WRONG.encode()}
    )
    window.get_by_role("button", name="Check the file").click()
    expect(window.get_by_role("alert")).to_contain_text("4 errors in 2 lines, so nothing was created")
    expect(window.locator("tbody tr")).to_have_count(4)
    window.get_by_label("CSV file").set_input_files(
        {"name": "new.csv", "mimeType": "text/csv", "buffer": RIGHT.encode()}
    )
    window.get_by_role("button", name="Check the file").click()
    expect(window.get_by_role("heading", name="2 projects would be created")).to_be_visible()
    window.get_by_role("button", name="Create 2 projects").click()
    expect(window.locator("#toasts")).to_contain_text("2 projects created")
    sign_in(page)
    page.goto("/projects/?tag=intake")
    expect(page.locator("output").first).to_have_text("2 projects")
    check(page)

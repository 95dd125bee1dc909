"""What an administrator takes away is what the list shows, also after filtering it without loading the page."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_an_export_follows_the_filters(page: Page) -> None:
    sign_in(page)
    page.goto("/projects/")
    page.get_by_role("searchbox").press_sequentially("triage")
    expect(page.locator("output").first).to_have_text("1 project")
    link = page.get_by_role("link", name="Export CSV")
    expect(link).to_have_attribute("href", re.compile(r"q=triage"))
    with page.expect_download() as download:
        link.click()
    lines = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 2
    assert "claims-triage" in lines[1]

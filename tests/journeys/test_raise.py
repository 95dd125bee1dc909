"""An owner runs into a limit, asks for a raise, an administrator approves, and the very next call passes."""

from __future__ import annotations

import re
import uuid

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import Demo, sign_in

OWNER = "daniel.okafor"

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_raise_is_asked_for_and_approved(browser: Browser, page: Page, portal: Demo) -> None:
    gateway = portal.manage("register_gateway", "Raising")
    portal.manage(
        "create_project",
        "--code",
        "raise-me",
        "--name",
        "Raise me",
        "--owner",
        f"{OWNER}@northgate.example",
        "--daily-limit",
        "0.001",
    )
    key = portal.manage("issue_api_key", "--project", "raise-me", "--name", "service")

    def ask() -> requests.Response:
        return requests.post(
            f"{portal.url}/gateway/v1/authorize",
            json={
                "credential": key["secret"],
                "model": "gpt-5-mini",
                "request_id": uuid.uuid4().hex,
                "input_tokens": 1000,
                "max_output_tokens": 1000,
            },
            headers={"Authorization": f"Bearer {gateway['secret']}"},
            timeout=30,
        )

    assert ask().json()["code"] == "limit_exceeded"
    with browser.new_context(base_url=portal.url, reduced_motion="reduce") as theirs:
        owner = theirs.new_page()
        sign_in(owner, OWNER)
        owner.goto("/projects/raise-me/limits/")
        owner.get_by_label("Daily limit").fill("5")
        owner.get_by_role("button", name="Save limits").click()
        expect(owner.locator("main")).to_contain_text("You may lower this limit")
        owner.get_by_role("link", name="Ask for a raise", exact=True).click()
        dialog = owner.get_by_role("dialog")
        dialog.get_by_label("New limit").fill("5")
        dialog.get_by_role("button", name="Ask for the raise").click()
        expect(dialog).to_contain_text("Fill this in")
        expect(dialog.get_by_label("New limit")).to_have_value("5")
        dialog.get_by_label("Reason").fill("The letters of the spring")
        dialog.get_by_role("button", name="Ask for the raise").click()
        expect(owner.get_by_role("heading", level=1)).to_contain_text("Raise me, spend a day")
        expect(owner.get_by_role("link", name="Approve")).to_have_count(0)
        assert ask().json()["code"] == "limit_exceeded"

        sign_in(page)
        page.get_by_role("link", name=re.compile("^Requests")).click()
        row = page.locator("#request-table tbody tr", has_text="Raise me")
        expect(row).to_contain_text("$5.00")
        row.get_by_role("link", name="Raise me").click()
        expect(page.locator("main")).to_contain_text("The letters of the spring")
        page.get_by_role("link", name="Approve").click()
        page.get_by_role("dialog").get_by_label("Note").fill("Go ahead")
        page.get_by_role("dialog").get_by_role("button", name="Approve").click()
        expect(page.locator("#toasts")).to_contain_text("Approved")

        assert ask().status_code == 200
        owner.reload()
        expect(owner.locator("main")).to_contain_text("Go ahead")

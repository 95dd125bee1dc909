"""The main job, from signing in to a refusal that is explained: browser, portal, LiteLLM and provider are all real."""

from __future__ import annotations

from decimal import Decimal

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Demo, sign_in
from tests.litellm.processes import Proxy, until

LIMIT = "0.0025"

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_main_job(page: Page, portal: Demo, proxy: Proxy) -> None:
    sign_in(page)
    create_group(page)
    create_project(page)
    secret = issue_token(page)
    proxy.ready()
    refusal = call_until_refused(portal, proxy, secret)
    find_refusal(page, refusal)
    find_spend(page)
    find_audit_entries(page)


def create_group(page: Page) -> None:
    page.goto("/groups/")
    page.get_by_role("link", name="New group").click()
    page.get_by_label("Name").fill("Journey")
    page.get_by_label("Code").fill("journey")
    page.get_by_role("button", name="Create group").click()
    expect(page.get_by_role("heading", name="Journey", level=1)).to_be_visible()


def create_project(page: Page) -> None:
    page.goto("/projects/")
    page.get_by_role("link", name="New project").click()
    page.get_by_label("Name", exact=True).press_sequentially("Letter drafts")
    expect(page.get_by_label("Code")).to_have_value("letter-drafts")
    page.get_by_label("Group").select_option("Journey")
    page.get_by_label("Owners").press_sequentially("elena")
    page.get_by_label("Elena Marsh").check()
    page.get_by_label("Daily limit").fill(LIMIT)
    page.get_by_role("button", name="Create project").click()
    expect(page.get_by_role("heading", name="Letter drafts", level=1)).to_be_visible()


def issue_token(page: Page) -> str:
    page.goto("/projects/letter-drafts/tokens/")
    page.get_by_role("link", name="Issue user token").click()
    dialog = page.get_by_role("dialog")
    person = dialog.get_by_label("Person")
    person.select_option(person.locator("option", has_text="Elena Marsh").get_attribute("value"))
    dialog.get_by_label("Name").fill("laptop")
    dialog.get_by_role("button", name="Issue user token").click()
    secret = dialog.locator("#secret").inner_text()
    dialog.get_by_label("I have stored it somewhere safe").check()
    dialog.get_by_role("button", name="Done").click()
    # A dialog that closes is hidden first and taken out of the page when it has closed.
    expect(page.locator("#secret")).to_have_count(0)
    # Shown this once: neither the page nor a reload has it any more.
    assert secret not in page.content()
    page.reload()
    assert secret not in page.content()
    expect(page.locator("main")).to_contain_text("laptop")
    return secret


def call_until_refused(portal: Demo, proxy: Proxy, secret: str) -> requests.Response:
    """Call a model until the portal refuses; nothing is in flight between two calls."""
    made = 0
    with requests.Session() as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        messages = [{"role": "user", "content": "Draft a letter."}]
        body = {"model": "gpt-5-mini", "max_tokens": 1000, "messages": messages}
        while True:
            answer = client.post(f"{proxy.url}/v1/chat/completions", json=body, timeout=60)
            if answer.status_code != 200:
                break
            made += 1
            # A call costs less than this, and reserves more than so many of them.
            until(lambda: used(portal, proxy, secret) < made * Decimal("0.0001"), what="the call is settled")  # noqa: B023
            assert made < 20
    assert answer.status_code == 429, answer.text
    spent = portal.manage("spend", "--project", "letter-drafts")
    assert spent["calls"] == made > 1
    assert spent["refused"] == 1
    assert 0 < Decimal(spent["spend"]) < Decimal(LIMIT)
    return answer


def find_refusal(page: Page, refusal: requests.Response) -> None:
    """Follow the link that the caller got, then find the same refusal in the list and on the project's page."""
    error = refusal.json()["error"]
    assert error["code"] == "limit_exceeded"
    assert int(refusal.headers["Retry-After"]) > 0
    why = page.get_by_role("heading", name="Why was this request refused?")
    until(lambda: page.goto(error["problem"]["explain_url"]) and why.is_visible(), what="the refusal is kept")
    expect(page.locator("main")).to_contain_text("Letter drafts")
    expect(page.locator("main")).to_contain_text("gpt-5-mini")
    page.goto("/refusals/")
    row = page.locator("#refusal-table tbody tr", has_text="Letter drafts")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("gpt-5-mini")


def find_spend(page: Page) -> None:
    page.goto("/projects/letter-drafts/")
    models = page.locator("section", has=page.get_by_role("heading", name="Models this month"))
    expect(models).to_contain_text("gpt-5-mini")
    page.goto("/projects/")
    expect(page.locator("main")).to_contain_text("Letter drafts")
    page.goto("/")
    expect(page.locator("main")).to_be_visible()


def find_audit_entries(page: Page) -> None:
    for what in (
        "registered the group Journey",
        "created the project Letter drafts",
        "issued a user token in",
        "registered the gateway LiteLLM of the journey",
    ):
        page.goto("/audit/")
        page.get_by_role("searchbox").press_sequentially(what.split()[-1])
        expect(page.locator("#entry-table")).to_contain_text(
            what.rpartition(" ")[0].strip(), ignore_case=True
        )


def used(portal: Demo, proxy: Proxy, secret: str) -> Decimal:
    """Return what the holder of the token sees as used of the daily limit, calls in flight included."""
    headers = {
        "Authorization": f"Bearer {proxy.environment['LLM_PORTAL_GATEWAY_SECRET']}",
        "X-LLM-Credential": secret,
    }
    answer = requests.get(f"{portal.url}/gateway/v1/me", headers=headers, timeout=60).json()
    return next(Decimal(limit["used"]) for limit in answer["limits"] if limit["scope"] == "project")

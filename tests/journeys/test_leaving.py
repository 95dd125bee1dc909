"""Somebody leaves the directory while they have a page open and a token in use."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import Demo, sign_in
from tests.litellm.processes import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WHO, NAME = "priya.raman", "Priya Raman"


def change(portal: Demo, **values: Any) -> None:
    """Change the person in the stand-in's directory."""
    facts = json.loads((portal.data_dir / "demo.json").read_text())
    secrets = json.loads((portal.data_dir / "identity" / "secrets.json").read_text())
    headers = {"Authorization": f"Bearer {secrets['control_token']}"}
    address = f"{facts['identity'].rstrip('/')}/_control/people/{WHO}"
    requests.patch(address, json=values, headers=headers, timeout=60).raise_for_status()


def synchronize(portal: Demo) -> None:
    """Have the directory followed: by this command, or by the worker if it is at it just now."""

    def is_done() -> bool:
        try:
            return bool(portal.manage("sync_directory")["outcome"] == "done")
        except AssertionError as refused:
            if "running already" not in str(refused):
                raise
            return False

    until(is_done, 120, "the directory is followed")


def test_somebody_leaves_the_directory(browser: Browser, page: Page, portal: Demo) -> None:
    gateway = portal.manage("register_gateway", "Leaving")
    token = portal.manage(
        "issue_token", "--project", "claims-triage", "--email", f"{WHO}@northgate.example", "--name", "In use"
    )

    def ask() -> requests.Response:
        return requests.post(
            f"{portal.url}/gateway/v1/authorize",
            json={
                "credential": token["secret"],
                "model": "gpt-5-mini",
                "request_id": uuid.uuid4().hex,
                "input_tokens": 10,
                "max_output_tokens": 10,
            },
            headers={"Authorization": f"Bearer {gateway['secret']}"},
            timeout=30,
        )

    with browser.new_context(base_url=portal.url, reduced_motion="reduce") as hers:
        theirs = hers.new_page()
        sign_in(theirs, WHO)
        assert ask().status_code == 200

        change(portal, enabled=False)
        synchronize(portal)

        refused = ask()
        assert (refused.status_code, refused.json()["code"]) == (401, "credential_suspended")
        theirs.get_by_role("link", name="User tokens").or_(
            theirs.get_by_role("link", name="My tokens")
        ).first.click()
        expect(theirs.get_by_role("button", name="Sign in with Microsoft")).to_be_visible()

    sign_in(page)
    page.goto("/accounts/people/?state=left")
    page.get_by_role("link", name=NAME).click()
    expect(page.get_by_text("Disabled in the directory since")).to_be_visible()
    left = page.get_by_role("region", name=f"What {NAME} leaves")
    expect(left).to_contain_text("Claims triage")
    expect(left).to_contain_text("API key of")
    expect(page.get_by_role("region", name="Signed in")).to_contain_text("Nowhere")

    change(portal, enabled=True)
    synchronize(portal)

    assert ask().status_code == 200
    page.reload()
    expect(page.get_by_text("Member, enabled")).to_be_visible()

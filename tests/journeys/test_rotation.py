"""Rotate an API key in the browser while a real LiteLLM proxy uses it: no call fails; what is revoked is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests
from playwright.sync_api import Error, Page, Response, expect

from portal.lib import secrets
from tests.journeys.conftest import Demo, sign_in
from tests.litellm.processes import Proxy, until

BODY = {
    "model": "gpt-5-mini",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "One line about rotation."}],
}

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Client:
    """A system that calls with a secret it can be told to exchange."""

    def __init__(self, proxy: Proxy, secret: str) -> None:
        self.url, self.secret = f"{proxy.url}/v1/chat/completions", secret
        self.answers: list[tuple[str, int]] = []

    def call(self, secret: str = "") -> requests.Response:
        """Make one call."""
        headers = {"Authorization": f"Bearer {secret or self.secret}"}
        return requests.post(self.url, json=BODY, headers=headers, timeout=60)

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Keep calling while the block runs."""
        done = threading.Event()

        def work() -> None:
            while not done.is_set():
                secret = self.secret
                self.answers.append((secret, self.call(secret).status_code))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def has_called(self, secret: str, times: int) -> Callable[[], bool]:
        """Whether so many calls with the secret were answered."""
        return lambda: sum(1 for used, _ in self.answers if used == secret) >= times


def test_a_key_is_rotated_under_traffic_without_one_failed_call(
    page: Page, portal: Demo, proxy: Proxy
) -> None:
    sign_in(page)
    answers: list[str] = []
    page.on("response", lambda response: answers.append(_text(response)))
    portal.manage("create_project", "--code", "batch-letters", "--name", "Batch letters")
    old = portal.manage("issue_api_key", "--project", "batch-letters", "--name", "letters-worker")
    proxy.ready()
    client = Client(proxy, old["secret"])
    until(lambda: client.call().status_code == 200, what="the key is admitted")
    with client.traffic():
        until(client.has_called(old["secret"], 10), what="the old secret is in use")
        new = rotate(page, old["id"])
        until(client.has_called(old["secret"], len(client.answers) + 6), what="the old secret still works")
        client.secret = new
        until(client.has_called(new, 15), what="the new secret is in use")
        end_overlap(page)
        until(client.has_called(new, len(client.answers) + 6), what="the new secret goes on working")
    assert {status for _, status in client.answers} == {200}
    assert client.call(old["secret"]).status_code == 401
    assert sum(new in text for text in answers) == 1, "the secret is in one answer alone"
    revoke(page)
    assert client.call(new).status_code == 401


def _text(response: Response) -> str:
    """Return the text of an answer; one that went with its page has none any more."""
    try:
        return response.text()
    except (Error, UnicodeDecodeError):  # fonts are no text
        return ""


def rotate(page: Page, key_id: str) -> str:
    page.goto(f"/keys/{key_id}/")
    page.get_by_role("link", name="Rotate key").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("24 hours")).to_be_checked()
    dialog.get_by_label("Reason").fill("Once a quarter")
    dialog.get_by_role("button", name="Rotate key").click()
    secret = dialog.locator("#secret").inner_text()
    assert secrets.PATTERNS["api_key"].fullmatch(secret)
    dialog.get_by_label("I have stored it somewhere safe").check()
    dialog.get_by_role("button", name="Done").click()
    expect(page.locator("#secret")).to_have_count(0)
    # The page behind the dialog has followed.
    expect(page.locator("main")).to_contain_text("Rotating")
    page.reload()
    assert secret not in page.content()
    return secret


def end_overlap(page: Page) -> None:
    page.get_by_role("link", name="End overlap now").click()
    page.get_by_role("dialog").get_by_role("button", name="End overlap now").click()
    expect(page.get_by_role("link", name="Rotate key")).to_be_visible()


def revoke(page: Page) -> None:
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke key").click()
    expect(page.locator("main")).to_contain_text("This is final")

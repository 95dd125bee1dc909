"""Journeys: the whole demonstration as one command starts it, a real LiteLLM proxy, a real browser."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from portal import env
from portal.demo import ports, processes
from tests import chromium
from tests.litellm.conftest import config, litellm_environment, upstream
from tests.litellm.processes import Proxy, until
from tests.litellm.upstream import Upstream

__all__ = ["litellm_environment", "upstream"]

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# What the browser and htmx themselves say of an answer that is an error.
EXPECTED = re.compile(r"Failed to load resource|Response Status Error Code")


class Demo:
    """A running demonstration."""

    def __init__(self, data_dir: Path, **more: str) -> None:
        """Start it and wait until it is ready; `more` is added to its environment."""
        self.data_dir = data_dir
        self.ports = ports.Ports()
        self.port = self.ports.take_from(8400)
        self.ports.close()  # the demonstration takes it itself
        self.url = f"http://{ports.HOST}:{self.port}"
        without = (
            "DATABASE_URL",
            "DATABASE_OWNER_URL",
            "REDIS_URL",
            "PORTAL_",
            "ENTRA_",
            "GRAPH_",
            "TEST_DATABASE",
        )
        given = {name: value for name, value in os.environ.items() if not name.startswith(without)}
        self.environment = given | more
        words = [sys.executable, "manage.py", "demo", "--port", str(self.port), "--data-dir", str(data_dir)]
        self.log = data_dir.parent / "demo.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                words,
                cwd=env.REPO,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=processes.dies_with_parent(signal.SIGTERM),
            )
        ready = f"Portal ready at {self.url}/"

        def is_ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return ready in self.log.read_text()

        until(is_ready, 180, "the demonstration is ready")

    def manage(self, *words: str) -> dict[str, Any]:
        """Run a management command and return its answer."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words, "--json", "--data-dir", str(self.data_dir)],
            cwd=env.REPO,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def stop(self) -> None:
        """Stop everything, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=120)


@pytest.fixture(scope="package")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("journey") / "data")
    yield demo
    demo.stop()


@pytest.fixture(scope="package")
def proxy(
    litellm_environment: None, portal: Demo, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A LiteLLM proxy in front of a provider that answers every model like `good`."""
    gateway = portal.manage("register_gateway", "LiteLLM of the journey")
    directory = tmp_path_factory.mktemp("journey-litellm") / "proxy"
    plain = config(upstream.url, {"gpt-5-mini": "good"}).replace(", witness.witness", "")
    started = Proxy(directory, portal.url, gateway["secret"], plain)
    started.start()
    yield started
    started.stop()


class Watch:
    """What a window says and asks for: problems of the page, and addresses that are not the portal's."""

    def __init__(self, context: BrowserContext, own: set[str]) -> None:
        self.said: list[str] = []
        self.foreign: list[str] = []
        self.own = own
        context.on("page", self._listen)
        context.on("request", self._note)

    def _listen(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.said.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda message: (
                self.said.append(f"{page.url}: {message.text}")
                if message.type in ("error", "warning")
                else None
            ),
        )

    def _note(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc not in self.own:
            self.foreign.append(request.url)

    def is_quiet(self) -> None:
        """Fail when a page threw, was refused something by its policy, or asked a foreign host."""
        assert [text for text in self.said if not EXPECTED.search(text)] == []
        assert self.foreign == []


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """One for each module: while it lives its event loop holds the thread, and another cannot start."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    started = playwright.chromium.launch(executable_path=chromium.find(), args=ARGUMENTS)
    yield started
    started.close()


def own_hosts(portal: Demo) -> set[str]:
    """Return where requests may go: the portal and the stand-in for Microsoft's sign-in."""
    facts = json.loads((portal.data_dir / "demo.json").read_text())
    return {urlsplit(portal.url).netloc, urlsplit(facts["identity"]).netloc}


def sign_in(page: Page, who: str = "elena.marsh") -> None:
    """Sign in through the stand-in for Microsoft's sign-in."""
    page.goto("/projects/")
    page.get_by_role("button", name="Sign in with Microsoft").click()
    page.get_by_role("button", name=f"{who}@northgate.example").click()
    expect(page.get_by_role("navigation").first).to_be_visible()
    expect(page.get_by_role("button", name="Sign in with Microsoft")).to_have_count(0)


@pytest.fixture
def context(browser: Browser, portal: Demo) -> Iterator[BrowserContext]:
    made = browser.new_context(
        base_url=portal.url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce"
    )
    watch = Watch(made, own_hosts(portal))
    yield made
    made.close()
    watch.is_quiet()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()

"""A real LiteLLM proxy in front of a provider of our own, governed by a real portal."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests

from tests.litellm import environment
from tests.litellm.processes import MASTER_KEY, Portal, Proxy
from tests.litellm.upstream import Upstream

OPENAI = ("good", "fails", "fails-once", "fails-once-too", "breaks", "waits")
CONFIG = """
model_list:
{models}
litellm_settings:
  callbacks: [llm_portal.hooks, witness.witness]
  num_retries: 1
  request_timeout: 60
  cache: true
  cache_params: {{type: local, mode: default_off}}
general_settings:
  master_key: {master}
  custom_auth: llm_portal.user_api_key_auth
router_settings:
  retry_after: 0
  disable_cooldowns: true
"""
# Everything that LiteLLM tells any logger is written down: no secret may be in it.
WITNESS = """
from litellm.integrations.custom_logger import CustomLogger

class Witness(CustomLogger):
    def write(self, *things):
        with open("witness.log", "a") as file:
            file.write(" ".join(repr(thing) for thing in things) + "\\n")

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.write("success", {k: v for k, v in kwargs.items() if k != "secret_fields"})

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.write("failure", kwargs)

    async def async_post_call_failure_hook(self, request_data, original_exception, user_api_key_dict, *more):
        self.write("failed", original_exception, user_api_key_dict, more)

witness = Witness()
"""


def _model(name: str, provider: str, url: str, upstream: str = "") -> str:
    base = f"{url}/v1" if provider == "openai" else url
    params = f"{{model: {provider}/{upstream or name}, api_base: '{base}', api_key: none}}"
    return f"  - {{model_name: {name}, litellm_params: {params}}}"


def config(url: str, names: Mapping[str, str] | None = None) -> str:
    """Return the proxy's configuration; ``names`` are further public names and what the provider calls them."""
    models = [_model(name, "openai", url) for name in OPENAI]
    models += [_model("claude", "anthropic", url, "good"), _model("nobody", "openai", "http://127.0.0.1:9")]
    models += [_model(name, "openai", url, upstream) for name, upstream in (names or {}).items()]
    return CONFIG.format(models="\n".join(models), master=MASTER_KEY)


@pytest.fixture(scope="session")
def litellm_environment() -> None:
    try:
        environment.make()
    except environment.NotMade as error:
        reason = f"not run: LiteLLM could not be installed: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.go.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="package")
def portal(litellm_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    started = Portal(tmp_path_factory.mktemp("portal") / "data")
    try:
        started.web.start()
        for name in (*OPENAI, "claude", "nobody"):
            prices = {"input": "1", "cached_input": "0.5", "cache_write": "2", "output": "10"}
            started.ask("price", model=name, ceiling=1000, context_window=8000, **prices)
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="package")
def proxy(portal: Portal, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    gateway = portal.ask("gateway", name="litellm")
    directory = tmp_path_factory.mktemp("litellm") / "proxy"
    started = Proxy(directory, portal.url, gateway["secret"], config(upstream.url))
    (directory / "witness.py").write_text(WITNESS)
    try:
        started.start()
        portal.web.ready()
        started.ready()
        yield started
    finally:
        started.stop()


_numbers = itertools.count(1)


class Caller:
    """A person with a user token of a project of its own."""

    def __init__(self, portal: Portal, proxy: Proxy, **limits: Any) -> None:
        self.portal, self.code = portal, f"project-{next(_numbers)}"
        wanted = [{"metric": "concurrency", "window": "none", "amount": 50}]
        token = portal.ask("project", code=self.code, limits=wanted, **limits)
        self.key_id, self.secret = token["id"], token["secret"]
        self.url = proxy.url
        self.client = requests.Session()
        self.client.headers["Authorization"] = f"Bearer {self.secret}"

    def post(self, path: str, body: dict[str, Any]) -> requests.Response:
        """Send a request; the answer to one with `stream` is read by the test."""
        return self.client.post(self.url + path, json=body, stream=bool(body.get("stream")), timeout=60)

    def chat(self, model: str = "good", **more: Any) -> requests.Response:
        """Make a chat completion."""
        messages = [{"role": "user", "content": "Tell me a story about a limit."}]
        return self.post("/v1/chat/completions", {"model": model, "messages": messages, **more})

    def usage(self) -> list[dict[str, Any]]:
        """Return what is booked."""
        found: list[dict[str, Any]] = self.portal.ask("usage", code=self.code)
        return found

    def held(self) -> int:
        """Return how many calls are in flight, as the portal counts."""
        found: int = self.portal.ask("held", code=self.code)
        return found


@pytest.fixture
def caller(portal: Portal, proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[Caller]:
    made = Caller(portal, proxy, **getattr(request, "param", {}))
    yield made
    made.client.close()

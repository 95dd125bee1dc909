"""What a client gets through a real LiteLLM proxy when the portal refuses: OpenAI's error shape with our reason."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.litellm.conftest import Caller
from tests.litellm.processes import MASTER_KEY, Portal, Proxy, until
from tests.litellm.upstream import Upstream

pytestmark = pytest.mark.slow

COST = Decimal("0.00027")


def read_error(answer: requests.Response) -> dict[str, Any]:
    """Return the error of an answer in OpenAI's shape."""
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize("caller", [{"daily_limit": "0.0025"}], indirect=True)
@pytest.mark.parametrize("stream", [False, True])
def test_a_user_calls_until_the_daily_limit(caller: Caller, upstream: Upstream, stream: bool) -> None:
    made = 0
    while (answer := caller.chat(stream=stream, max_tokens=50)).status_code == 200:
        assert answer.content
        made += 1
        until(lambda: len(caller.usage()) == made, what="usage is booked")  # noqa: B023
        assert made < 20
    sent = len(upstream.requests)
    assert answer.status_code == 429
    error = read_error(answer)
    assert error["code"] == error["type"] == "limit_exceeded"
    assert "0.0025 USD" in error["message"]
    assert error["problem"]["binding"]["scope"] == "project"
    assert error["problem"]["retryable"] is True
    assert int(answer.headers["Retry-After"]) > 60
    assert answer.headers["x-should-retry"] == "false"
    assert caller.chat(stream=stream).status_code == 429
    assert len(upstream.requests) == sent
    # To the last nano-unit: every call is booked, and one more of this size could not have been.
    assert sum(Decimal(row["spend"]) for row in caller.usage()) == COST * made
    assert made >= 5
    decisions = [row["decision_id"] for row in caller.portal.ask("refusals", code=caller.code)]
    assert error["problem"]["decision_id"] in decisions


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("caller", [{"daily_limit": "0"}], indirect=True)
def test_every_endpoint_refuses_alike(caller: Caller, path: str) -> None:
    messages = [{"role": "user", "content": "A story."}]
    body: dict[str, Any] = {"model": "good", "max_tokens": 50}
    body["messages" if path in ("/v1/chat/completions", "/v1/messages") else "input"] = messages
    if path == "/v1/embeddings":
        body = {"model": "good", "input": "A story."}
    answer = caller.post(path, body)
    assert answer.status_code == 429, answer.text
    assert answer.headers["Retry-After"].isdigit()
    assert "limit_exceeded" in answer.text
    assert caller.held() == 0


def test_a_revoked_token_is_refused_on_the_next_call(caller: Caller) -> None:
    assert caller.chat().status_code == 200
    caller.portal.ask("revoke", key_id=caller.key_id)
    answer = caller.chat()
    assert answer.status_code == 401
    assert read_error(answer)["code"] == "credential_revoked"
    assert caller.client.get(f"{caller.url}/v1/models").status_code == 401


def test_a_model_without_a_price_is_refused(caller: Caller) -> None:
    answer = caller.chat("unheard-of")
    assert answer.status_code == 403
    assert read_error(answer)["code"] == "model_unpriced"


@pytest.mark.parametrize("secret", ["", "sk-anything", "llmgw_ut_" + "0" * 51, MASTER_KEY])
def test_nothing_else_makes_model_calls(proxy: Proxy, secret: str) -> None:
    body = {"model": "good", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    answer = requests.post(f"{proxy.url}/v1/chat/completions", json=body, headers=headers, timeout=30)
    assert answer.status_code == 401
    assert read_error(answer)["code"] == "credential_unknown"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("POST", "/key/generate", 403),
        ("POST", "/model/new", 403),
        ("GET", "/model/info", 403),
        ("POST", "/v1/images/generations", 403),
        ("POST", "/v1/files", 403),
        ("POST", "/openai/v1/chat/completions/anything", 403),
        ("POST", "/anthropic/v1/messages", 403),
        ("GET", "/v1/responses/resp_1", 403),
    ],
)
def test_a_token_reaches_what_is_accounted_for_and_no_more(
    caller: Caller, upstream: Upstream, method: str, path: str, status: int
) -> None:
    sent = len(upstream.requests)
    answer = caller.client.request(method, caller.url + path, json={"model": "good"}, timeout=30)
    assert answer.status_code == status, answer.text
    if status == 403:
        assert read_error(answer)["code"] == "route_not_allowed"
    assert len(upstream.requests) == sent
    assert caller.held() == 0


def test_an_upload_is_refused_without_being_read(caller: Caller) -> None:
    url, files = f"{caller.url}/v1/audio/transcriptions", {"file": ("speech.wav", b"RIFF" * 1000)}
    answer = caller.client.post(url, files=files, data={"model": "good"}, timeout=30)
    assert answer.status_code == 403
    assert read_error(answer)["code"] == "route_not_allowed"


def test_a_request_without_a_body_is_refused_and_reserves_nothing(caller: Caller) -> None:
    answer = caller.client.post(f"{caller.url}/v1/chat/completions", timeout=30)
    assert 400 <= answer.status_code < 500
    assert caller.held() == 0


def test_the_master_key_still_administers(proxy: Proxy) -> None:
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    assert requests.get(f"{proxy.url}/model/info", headers=headers, timeout=30).status_code == 200


@pytest.mark.parametrize(
    "extra",
    [
        {"fallbacks": ["claude"]},
        {"extra_body": {"model": "claude"}},
        {"extra_body": {"max_completion_tokens": 100000}},
    ],
)
def test_a_request_cannot_get_round_its_authorization(
    caller: Caller, upstream: Upstream, extra: dict[str, Any]
) -> None:
    sent = len(upstream.requests)
    answer = caller.chat(max_tokens=1, **extra)
    assert answer.status_code == 400
    assert read_error(answer)["code"] == "not_accountable"
    assert len(upstream.requests) == sent


def test_several_models_at_once_are_refused(caller: Caller) -> None:
    assert read_error(caller.chat("good,claude"))["code"] == "model_unpriced"


def test_a_client_cannot_choose_the_request_id(caller: Caller) -> None:
    caller.client.headers["x-litellm-call-id"] = "mine"
    for _ in range(2):
        assert caller.chat(litellm_call_id="mine", metadata={"llm_portal_request": "mine"}).status_code == 200
    rows = until(lambda: len(rows := caller.usage()) == 2 and rows, what="usage is booked")
    uuid7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(uuid7.fullmatch(row["request_id"]) for row in rows)
    assert len({row["request_id"] for row in rows}) == 2


def test_the_portal_knows_what_was_asked_for(portal: Portal, caller: Caller) -> None:
    """A call larger than the whole limit says so, and is not worth repeating."""
    small = json.loads(json.dumps(portal.ask("project", code="tiny", limits=[], daily_limit="0.000001")))
    caller.client.headers["Authorization"] = f"Bearer {small['secret']}"
    answer = caller.chat(max_tokens=50)
    assert answer.status_code == 429
    assert answer.json()["error"]["problem"]["retryable"] is False
    assert answer.headers["x-should-retry"] == "false"

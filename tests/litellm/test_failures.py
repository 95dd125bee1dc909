"""What becomes of calls that fail, are repeated, or are left by their client."""

from __future__ import annotations

import pytest
import requests

from tests.litellm.conftest import Caller
from tests.litellm.processes import until
from tests.litellm.upstream import Upstream

pytestmark = pytest.mark.slow


def test_a_repeated_attempt_is_booked_once(caller: Caller, upstream: Upstream) -> None:
    before = len(upstream.requests)
    assert caller.chat("fails-once").status_code == 200
    assert len(upstream.requests) == before + 2
    (row,) = until(caller.usage, what="usage is booked")
    assert (row["status"], row["input_tokens"], row["output_tokens"]) == ("ok", 100, 20)
    assert caller.chat("good").status_code == 200
    assert len(until(lambda: len(rows := caller.usage()) > 1 and rows)) == 2
    assert caller.held() == 0


def test_a_call_that_fails_at_the_provider_costs_its_input(caller: Caller) -> None:
    answer = caller.chat("fails", max_tokens=50)
    assert answer.status_code == 500
    (row,) = until(caller.usage, what="usage is booked")
    assert row["status"] == "failed"
    assert 5 < row["input_tokens"] < 30
    assert row["output_tokens"] == 0
    assert row["has_reservation"]
    assert caller.held() == 0


def test_a_call_that_reached_nobody_is_released(caller: Caller) -> None:
    answer = caller.chat("nobody")
    assert answer.status_code >= 500
    until(lambda: caller.held() == 0, what="the reservation is given back")
    assert caller.usage() == []


def test_a_call_that_litellm_refuses_is_released(caller: Caller) -> None:
    """Authorized, then turned down before anything was sent."""
    answer = caller.post("/v1/embeddings", {"model": "claude", "input": "A story."})
    assert answer.status_code >= 400
    until(lambda: caller.held() == 0, what="the reservation is given back")


def test_a_stream_that_breaks_costs_what_came(caller: Caller, upstream: Upstream) -> None:
    upstream.go.clear()
    answer = caller.chat("breaks", stream=True)
    assert answer.status_code == 200
    lines = answer.iter_lines()
    assert next(lines)
    upstream.go.set()
    assert any(b'"error"' in line for line in lines)
    (row,) = until(caller.usage, what="usage is booked")
    assert row["status"] == "failed"
    assert 5 < row["input_tokens"] < 30
    assert 4 <= row["output_tokens"] <= 6
    assert caller.held() == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_a_client_that_leaves_a_stream_pays_for_what_came(
    caller: Caller, upstream: Upstream, path: str
) -> None:
    upstream.go.clear()
    messages = [{"role": "user", "content": "Tell me a story about a limit."}]
    key = "input" if path == "/v1/responses" else "messages"
    answer = caller.post(path, {"model": "waits", key: messages, "stream": True})
    assert answer.status_code == 200
    assert next(answer.iter_lines())
    assert caller.held() == 1
    answer.close()
    (row,) = until(caller.usage, what="usage is booked")
    upstream.go.set()
    assert row["status"] == "cancelled"
    assert 5 < row["input_tokens"] < 30
    assert 0 < row["output_tokens"] < 20
    assert row["has_reservation"]
    assert caller.held() == 0


def test_a_client_that_leaves_without_a_stream_pays_for_the_whole(caller: Caller, upstream: Upstream) -> None:
    upstream.go.clear()
    before = len(upstream.requests)
    messages = [{"role": "user", "content": "Hello"}]
    with pytest.raises(requests.Timeout):
        caller.client.post(
            f"{caller.url}/v1/chat/completions", json={"model": "waits", "messages": messages}, timeout=1
        )
    until(lambda: len(upstream.requests) == before + 1, what="the provider is asked")
    upstream.go.set()
    (row,) = until(caller.usage, what="usage is booked")
    assert (row["input_tokens"], row["output_tokens"]) == (100, 20)
    assert caller.held() == 0

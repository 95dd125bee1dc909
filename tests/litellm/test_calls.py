"""Calls through a real LiteLLM proxy: admitted by the portal, and what they used is booked exactly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from tests.litellm.conftest import Caller
from tests.litellm.processes import until

pytestmark = pytest.mark.slow

# Input 40 fresh + 60 cached, output 20, at 1, 0.5 and 10 for a million.
COST = Decimal("0.00027")


def booked(caller: Caller, number: int = 1) -> list[dict[str, Any]]:
    """Wait until so many calls are booked, and return them."""
    found: list[dict[str, Any]] = until(
        lambda: len(rows := caller.usage()) >= number and rows, what="usage is booked"
    )
    assert len(found) == number
    assert caller.held() == 0
    return found


def test_a_chat_is_booked(caller: Caller) -> None:
    answer = caller.chat(max_tokens=50)
    assert answer.status_code == 200, answer.text
    (row,) = booked(caller)
    assert row["model"] == "good"
    assert row["status"] == "ok"
    assert (row["input_tokens"], row["cached_input_tokens"]) == (100, 60)
    assert (row["output_tokens"], row["reasoning_tokens"]) == (20, 8)
    assert Decimal(row["spend"]) == COST
    assert row["has_reservation"]


def test_a_streamed_chat_is_booked(caller: Caller) -> None:
    answer = caller.chat(stream=True)
    assert answer.status_code == 200
    lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == b"data: [DONE]"
    (row,) = booked(caller)
    assert (row["input_tokens"], row["output_tokens"], row["status"]) == (100, 20, "ok")
    assert Decimal(row["spend"]) == COST


def test_embeddings_are_booked(caller: Caller) -> None:
    answer = caller.post("/v1/embeddings", {"model": "good", "input": ["one", "two"]})
    assert answer.status_code == 200, answer.text
    (row,) = booked(caller)
    assert (row["input_tokens"], row["output_tokens"]) == (7, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_booked(caller: Caller, stream: bool) -> None:
    answer = caller.post("/v1/responses", {"model": "good", "input": "A story.", "stream": stream})
    assert answer.status_code == 200, answer.text
    assert answer.content
    (row,) = booked(caller)
    assert (row["input_tokens"], row["cached_input_tokens"]) == (100, 60)
    assert (row["output_tokens"], row["reasoning_tokens"]) == (20, 8)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_cache_tokens_of_anthropic_are_part_of_the_input(caller: Caller, stream: bool, path: str) -> None:
    messages = [{"role": "user", "content": "A story."}]
    answer = caller.post(path, {"model": "claude", "max_tokens": 50, "messages": messages, "stream": stream})
    assert answer.status_code == 200, answer.text
    assert answer.content
    (row,) = booked(caller)
    assert row["model"] == "claude"
    assert (row["input_tokens"], row["output_tokens"]) == (600, 20)
    assert (row["cached_input_tokens"], row["cache_write_tokens"]) == (500, 70)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_a_bridged_endpoint_is_booked_once(caller: Caller, path: str) -> None:
    body: dict[str, Any] = {"model": "good" if path == "/v1/messages" else "claude", "max_tokens": 50}
    body["messages" if path == "/v1/messages" else "input"] = [{"role": "user", "content": "A story."}]
    for _ in range(2):  # the second shows that nothing more came of the first
        answer = caller.post(path, body)
        assert answer.status_code == 200, answer.text
    booked(caller, 2)


def test_an_answer_from_litellms_cache_is_a_call_without_tokens(caller: Caller) -> None:
    for _ in range(2):
        assert caller.chat(cache={"use-cache": True}, seed=7).status_code == 200
    first, second = booked(caller, 2)
    assert (first["input_tokens"], first["output_tokens"]) == (100, 20)
    assert (second["input_tokens"], second["output_tokens"], second["status"]) == (0, 0, "ok")
    assert Decimal(second["spend"]) == 0


def test_many_callers_at_once_are_each_booked_once(caller: Caller) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: caller.chat(stream=bool(number % 2)), range(64)))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.content for answer in answers)
    rows = booked(caller, 64)
    assert len({row["request_id"] for row in rows}) == 64
    assert sum(Decimal(row["spend"]) for row in rows) == 64 * COST

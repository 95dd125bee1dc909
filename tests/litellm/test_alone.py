"""The adapter by itself, in LiteLLM's environment: what it asks for, and how it reads usage."""

from __future__ import annotations

import json
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from portal.lib import secrets
from tests.litellm import environment
from tests.litellm.processes import ADAPTER

pytestmark = pytest.mark.slow

# shape of the usage, input, output, cached, written, reasoning
USAGE: list[tuple[dict[str, Any], int, int, int, int, int]] = [
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, 10, 5, 0, 0, 0),
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 8},
        },
        *(100, 20, 60, 10, 8),
    ),
    # Anthropic's own: the cache is beside its input.
    (
        {
            "input_tokens": 30,
            "output_tokens": 20,
            "cache_read_input_tokens": 500,
            "cache_creation_input_tokens": 70,
        },
        *(600, 20, 500, 70, 0),
    ),
    # The same under OpenAI's names, as some bridges write it; parts larger than the whole, or a total that tells.
    (
        {"prompt_tokens": 30, "completion_tokens": 20, "cache_read_input_tokens": 500, "total_tokens": 50},
        *(530, 20, 500, 0, 0),
    ),
    (
        {"prompt_tokens": 300, "completion_tokens": 20, "cache_read_input_tokens": 100, "total_tokens": 420},
        *(400, 20, 100, 0, 0),
    ),
    (
        {"prompt_tokens": 300, "completion_tokens": 20, "cache_read_input_tokens": 100, "total_tokens": 320},
        *(300, 20, 100, 0, 0),
    ),
    # OpenAI's responses: the cache is part of the input.
    (
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 60},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 8},
            "total_tokens": 120,
        },
        *(100, 20, 60, 0, 8),
    ),
    # Reasoning beside the completion.
    (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "completion_tokens_details": {"reasoning_tokens": 100},
            "total_tokens": 115,
        },
        *(10, 105, 0, 0, 100),
    ),
    ({"prompt_tokens": 10, "completion_tokens": None, "prompt_tokens_details": None}, 10, 0, 0, 0, 0),
    ({"prompt_tokens": 90, "completion_tokens": 1, "prompt_cache_hit_tokens": 40}, 90, 1, 40, 0, 0),
]
_HELLO = [{"role": "user", "content": "Hello"}]
_PICTURE = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}
]
AMOUNTS: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"messages": _HELLO, "max_tokens": 5}, "acompletion", {"max_output_tokens": 5}),
    (
        {"messages": _HELLO, "max_tokens": 5, "max_completion_tokens": 900},
        "acompletion",
        {"max_output_tokens": 900},
    ),
    ({"messages": _HELLO, "max_tokens": "7", "n": 3}, "acompletion", {"max_output_tokens": 7, "n": 3}),
    ({"messages": _HELLO, "max_tokens": 5, "additional_drop_params": ["max_tokens"]}, "acompletion", {}),
    ({"messages": _HELLO, "max_tokens": -1}, "acompletion", {}),
    ({"input": "Hello", "max_output_tokens": 9}, "aresponses", {"max_output_tokens": 9}),
    ({"prompt": ["one", "two"], "n": 2, "best_of": 3}, "atext_completion", {"n": 6}),
    ({"input": "Hello"}, "aembedding", {"max_output_tokens": 0}),
]
UNKNOWN_SIZE: list[tuple[dict[str, Any], str]] = [
    ({"messages": _PICTURE}, "acompletion"),
    ({"input": "Go on.", "previous_response_id": "resp_1"}, "aresponses"),
    ({"input": "Search.", "tools": [{"type": "web_search"}]}, "aresponses"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "aresponses"),
    ({"messages": _HELLO, "system": [{"type": "document", "source": {}}]}, "anthropic_messages"),
]
_FORBIDDEN: list[tuple[dict[str, Any], str, bool]] = [
    ({"messages": _HELLO}, "acompletion", False),
    ({"messages": _HELLO, "fallbacks": ["other"]}, "acompletion", True),
    ({"messages": _HELLO, "extra_body": {"n": 9}}, "acompletion", True),
    ({"messages": _HELLO, "extra_body": {"seed": 9}}, "acompletion", False),
    ({"input": "Hello", "background": True}, "aresponses", True),
    ({}, "acreate_batch", True),
]
# The policy, seconds since the portal admitted the credential, models called while it is away, which calls go on.
PASSING: list[tuple[str, int | None, list[str], list[bool]]] = [
    ("closed", 0, ["small"], [False]),
    ("open", 0, ["small"] * 4, [True, True, False, False]),
    ("open", 0, ["other"], [False]),
    ("open", 3590, ["small"], [True]),
    ("open", 3600, ["small"], [False]),
    ("open", None, ["small"], [False]),
]


@pytest.fixture(scope="module")
def results(litellm_environment: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Everything asked in one process, since LiteLLM takes seconds to import."""
    _, token = secrets.generate("user_token")
    _, key = secrets.generate("api_key")
    _, gateway = secrets.generate("gateway")
    asked: dict[str, list[tuple[str, list[Any]]]] = {
        "usage": [("tokens", [usage]) for usage, *_ in USAGE],
        "amounts": [("amounts", [data, kind]) for data, kind, _ in AMOUNTS],
        "unknown": [("amounts", [data, kind]) for data, kind in UNKNOWN_SIZE],
        "ids": [("amounts", [{"input": [[1, 2, 3], [4]]}, "aembedding"])],
        "forbidden": [("forbidden", [data, kind]) for data, kind, _ in _FORBIDDEN],
        "secrets": [
            ("parse_token", [text]) for text in (token, key, gateway, token[:-1] + "_", token[:-1], "")
        ],
        "typo": [("parse_token", [token[:20] + ("a" if token[20] != "a" else "b") + token[21:]])],
        "money": [("money", [value]) for value in (0.0000123456789, 1, 0, None, "x", -1, float("inf"))],
        "passing": [("passing", [mode, age, models]) for mode, age, models, _ in PASSING],
        "ids_of_calls": [("uuid7", [])] * 3,
    }
    copy = tmp_path_factory.mktemp("alone") / "llm_portal.py"
    copy.write_bytes(ADAPTER.read_bytes())
    script = Path(__file__).with_name("alone.py")
    done = subprocess.run(
        [str(environment.PYTHON), "-I", str(script), str(copy)],
        input=json.dumps([item for items in asked.values() for item in items]),
        capture_output=True,
        text=True,
        cwd=copy.parent,
        env={"PATH": "/usr/bin:/bin", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "every model call is refused" in done.stderr  # it says that it is not configured
    answers = iter(json.loads(done.stdout.splitlines()[-1]))
    return {"token": [secrets.parse(token), secrets.parse(key)]} | {
        name: [next(answers) for _ in items] for name, items in asked.items()
    }


def test_parts_of_usage_belong_to_their_whole(results: dict[str, list[Any]]) -> None:
    names = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
    for (shape, *expected), found in zip(USAGE, results["usage"], strict=True):
        assert [found[name] for name in names] == expected, shape
        assert found["cached_input_tokens"] + found["cache_write_tokens"] <= found["input_tokens"]
        assert found["reasoning_tokens"] <= found["output_tokens"]


def test_the_largest_a_call_can_become_is_asked_for(results: dict[str, list[Any]]) -> None:
    for (data, kind, expected), found in zip(AMOUNTS, results["amounts"], strict=True):
        size = found.pop("input_bytes")
        assert size >= len(json.dumps(data.get("messages") or data.get("input") or data.get("prompt")))
        assert found == expected, (data, kind)
    assert results["ids"] == [{"input_tokens": 4, "max_output_tokens": 0}]


def test_a_size_that_cannot_be_seen_is_left_to_the_portal(results: dict[str, list[Any]]) -> None:
    for (data, _), found in zip(UNKNOWN_SIZE, results["unknown"], strict=True):
        assert "input_bytes" not in found, data
        assert "input_tokens" not in found, data


def test_what_cannot_be_accounted_for_is_refused(results: dict[str, list[Any]]) -> None:
    for (data, kind, expected), found in zip(_FORBIDDEN, results["forbidden"], strict=True):
        assert bool(found) is expected, (data, kind)


def test_a_credential_is_told_by_its_form_and_checksum(results: dict[str, list[Any]]) -> None:
    token, key = results["token"]
    assert results["secrets"] == [token.key_id, key.key_id, "", "", "", ""]
    assert results["typo"] == [""]


def test_money_has_nine_digits_at_most(results: dict[str, list[Any]]) -> None:
    assert results["money"] == ["0.000012346", "1.000000000", "0.000000000", None, None, None, None]


def test_nothing_is_admitted_from_memory_beyond_the_failure_policy(results: dict[str, list[Any]]) -> None:
    assert results["passing"] == [expected for *_, expected in PASSING]


def test_request_ids_sort_by_time(results: dict[str, list[Any]]) -> None:
    assert [found[14] for found in results["ids_of_calls"]] == ["7"] * 3
    assert len(set(results["ids_of_calls"])) == 3


class _Extends(BaseHTTPRequestHandler):
    asked: ClassVar[list[tuple[str, str, Any]]] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], body))
        expires = datetime.now(UTC) + timedelta(seconds=900)
        data = json.dumps({"expires_at": expires.isoformat().replace("+00:00", "Z")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_the_reservation_of_a_call_that_lasts_is_extended(litellm_environment: None, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Extends) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = subprocess.run(
            [str(environment.PYTHON), "-I", str(Path(__file__).with_name("alone.py")), str(ADAPTER)],
            input="[]",
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                "PATH": "/usr/bin:/bin",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LLM_PORTAL_URL": f"http://127.0.0.1:{server.server_port}/portal/",
                "LLM_PORTAL_GATEWAY_SECRET": "llmgw_gw_secret",
                "LLM_PORTAL_SPOOL": str(tmp_path / "spool"),
            },
            check=False,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert 750 < json.loads(done.stdout.splitlines()[-1])[0] < 850
    expected = ("/portal/gateway/v1/extend", "Bearer llmgw_gw_secret", {"reservation_id": "reservation"})
    assert _Extends.asked == [expected]

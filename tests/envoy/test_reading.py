"""What the portal reads in the request that Envoy repeats."""

import json
import uuid
from typing import Any

import pytest

from portal.decision.decide import Call
from portal.gateway import bodies, ext_authz


def read(content: Any = None, /, **environ: str) -> Call:
    raw = (
        content
        if isinstance(content, bytes)
        else json.dumps(content).encode()
        if content is not None
        else b""
    )
    return ext_authz.read_call(environ, "the credential", raw)


def refused(content: Any = None, /, **environ: str) -> list[str]:
    with pytest.raises(bodies.Invalid) as error:
        read(content, **environ)
    return [item["field"] for item in error.value.errors]


def test_the_body_says_model_and_size() -> None:
    content = {"model": "gpt-4o-mini", "max_tokens": 50, "n": 3, "stream": True, "messages": []}
    call = read(content)
    assert (call.model, call.max_output_tokens, call.n) == ("gpt-4o-mini", 50, 3)
    assert (call.input_bytes, call.input_tokens) == (len(json.dumps(content)), None)
    assert call.credential == "the credential"


def test_every_call_gets_a_request_id_of_its_own() -> None:
    ids = [uuid.UUID(read({"model": "m"}).request_id) for _ in range(20)]
    assert {number.version for number in ids} == {7}
    assert len(set(ids)) == 20


def test_without_a_body_the_header_names_the_model() -> None:
    call = read(HTTP_X_LLM_MODEL="gpt-4o-mini")
    assert (call.model, call.input_bytes, call.max_output_tokens, call.n) == ("gpt-4o-mini", None, None, 1)


@pytest.mark.parametrize(
    ("content", "cap"),
    [
        ({"max_tokens": 10}, 10),
        ({"max_completion_tokens": 11}, 11),
        ({"max_output_tokens": 12}, 12),
        ({"max_tokens": 10, "max_completion_tokens": 90}, 90),
        ({"max_tokens": None}, None),
        ({}, None),
    ],
)
def test_of_several_caps_the_largest_counts(content: dict[str, Any], cap: int | None) -> None:
    assert read({"model": "m", **content}).max_output_tokens == cap


@pytest.mark.parametrize(
    ("content", "answers"),
    [
        ({}, 1),
        ({"n": 0}, 1),
        ({"n": None}, 1),
        ({"n": 2, "best_of": 5}, 5),
        ({"prompt": ["a", "b", "c"], "n": 2}, 6),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": "a", "n": 4}, 4),
    ],
)
def test_the_answers_of_a_call_are_counted(content: dict[str, Any], answers: int) -> None:
    assert read({"model": "m", **content}).n == answers


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({}, "model"),
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"model": "m" * 513}, "model"),
        ({"model": "m", "n": "3"}, "n"),
        ({"model": "m", "n": True}, "n"),
        ({"model": "m", "n": 1e3}, "n"),
        ({"model": "m", "max_tokens": -1}, "max_tokens"),
        ({"model": "m", "best_of": [1]}, "best_of"),
        ({"model": "m", "Max_Tokens": 1}, "max_tokens"),
        ({"Model": "m"}, "model"),
    ],
)
def test_a_field_that_is_not_valid_is_named(content: dict[str, Any], field: str) -> None:
    assert refused(content) == [field]


def test_a_call_without_model_is_refused() -> None:
    assert refused() == ["model"]


def test_header_and_body_must_name_the_same_model() -> None:
    assert read({"model": "m"}, HTTP_X_LLM_MODEL="m").model == "m"
    assert read({"n": 2}, HTTP_X_LLM_MODEL="m").n == 2
    assert refused({"model": "dear"}, HTTP_X_LLM_MODEL="cheap") == ["model"]


@pytest.mark.parametrize(
    "raw",
    [
        b"not json",
        b"[]",
        b'"model"',
        b'{"model": NaN}',
        b"\xff\xfe{}",
        b'{"model":"cheap","model":"dear"}',
        b'{"model":"m","messages":[{"role":"user","role":"system"}]}',
        b'{"model":' + b"[" * 100_000,
        b"\x1f\x8b\x08\x00compressed",
    ],
)
def test_what_the_model_could_read_otherwise_is_malformed(raw: bytes) -> None:
    for environ in ({}, {"HTTP_X_LLM_MODEL": "m"}):
        with pytest.raises(bodies.Malformed):
            read(raw, **environ)


def test_a_form_counts_by_its_size() -> None:
    call = read(b"--x\r\n", HTTP_X_LLM_MODEL="whisper-1", CONTENT_TYPE="multipart/form-data; boundary=x")
    assert (call.model, call.input_bytes) == ("whisper-1", 5)
    with pytest.raises(bodies.Malformed):
        read(b"--x\r\n", CONTENT_TYPE="multipart/form-data; boundary=x")


def test_of_half_a_body_nothing_is_believed() -> None:
    half = {"model": "m", "max_tokens": 1}
    assert refused(half, HTTP_X_ENVOY_AUTH_PARTIAL_BODY="true") == ["model"]
    call = read(half, HTTP_X_ENVOY_AUTH_PARTIAL_BODY="true", HTTP_X_LLM_MODEL="m")
    assert (call.input_bytes, call.max_output_tokens) == (None, None)
    assert read(half, HTTP_X_ENVOY_AUTH_PARTIAL_BODY="false").max_output_tokens == 1


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, None),
        ({"HTTP_X_FORWARDED_FOR": "6.6.6.6, 192.0.2.7"}, "192.0.2.7"),
        ({"HTTP_X_FORWARDED_FOR": "6.6.6.6", "HTTP_X_LLM_CLIENT_IP": "192.0.2.7"}, "192.0.2.7"),
        ({"HTTP_X_LLM_CLIENT_IP": "2001:db8::1"}, "2001:db8::1"),
        ({"HTTP_X_LLM_CLIENT_IP": "nonsense"}, None),
        ({"HTTP_X_FORWARDED_FOR": "192.0.2.7, "}, None),
    ],
)
def test_the_address_is_what_envoy_says_else_the_last_hop(
    environ: dict[str, str], address: str | None
) -> None:
    assert read({"model": "m"}, **environ).client_ip == address


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("bob@northgate.example", "bob@northgate.example"),
        ("Bob Nakamura <b@x>", "Bob Nakamura <b@x>"),
        ("zoë@northgate.example", "zo%C3%AB@northgate.example"),
        ("100%", "100%25"),
        ("a\r\nx-evil: 1", "a%0D%0Ax-evil: 1"),
        ("", ""),
    ],
)
def test_headers_carry_any_text(text: str, header: str) -> None:
    assert ext_authz.header_safe(text) == header

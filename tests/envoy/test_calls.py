"""A client's calls through Envoy: who gets through, who is refused and how."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from portal import env
from portal.gateway.ext_authz import PREFIX
from tests.envoy.cast import MODEL
from tests.envoy.conftest import Envoy, Portal, ask
from tests.envoy.upstream import USAGE, Upstream

OURS = ("x-llm-reservation-id", "x-llm-request-id", "x-llm-project", "x-llm-user")


def test_an_allowed_call_reaches_the_model_with_who_makes_it(envoy: Envoy, upstream: Upstream) -> None:
    answer = envoy.chat("token")
    assert answer.status == 200
    assert answer.json["usage"] == USAGE
    headers, body = upstream.seen[-1]
    assert (headers["x-llm-project"], headers["x-llm-user"]) == ("triage", "zo%C3%AB@northgate.example")
    assert uuid.UUID(headers["x-llm-request-id"]).version == 7
    assert headers["x-llm-reservation-id"]
    assert answer.headers["x-llm-request-id"] == headers["x-llm-request-id"]
    assert body["model"] == MODEL


def test_neither_credential_nor_gateway_secret_reaches_the_model(envoy: Envoy, upstream: Upstream) -> None:
    envoy.chat("token")
    headers, _ = upstream.seen[-1]
    assert headers["authorization"] == "Bearer sk-provider"
    assert "llmgw_" not in json.dumps(headers)


def test_a_key_goes_by_its_name(envoy: Envoy, upstream: Upstream) -> None:
    assert envoy.chat("api_key", headers={"x-llm-user": "somebody"}).status == 200
    assert upstream.seen[-1][0]["x-llm-user"] == "Nightly job"


def test_a_client_cannot_speak_for_envoy(envoy: Envoy, upstream: Upstream) -> None:
    forged = dict.fromkeys(
        (*OURS, "x-llm-model", "x-llm-client-ip", "X-LLM-Gateway", "x-llm-other"), "forged"
    )
    assert envoy.chat("token", headers=forged).status == 200
    headers, _ = upstream.seen[-1]
    assert "forged" not in headers.values()
    assert headers["x-llm-project"] == "triage"


def test_a_header_with_underscores_is_refused(envoy: Envoy, upstream: Upstream) -> None:
    before = len(upstream.seen)
    assert envoy.chat("token", headers={"x_llm_model": "cheap"}).status == 400
    assert len(upstream.seen) == before


def test_the_refusal_of_a_limit_is_the_clients_answer(envoy: Envoy, upstream: Upstream) -> None:
    before = len(upstream.seen)
    answer = envoy.chat("exhausted")
    assert answer.status == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    problem = answer.json
    assert (problem["code"], problem["binding"]["metric"]) == ("limit_exceeded", "requests")
    assert "Small change" in problem["detail"]
    assert len(upstream.seen) == before


@pytest.mark.parametrize(
    ("credential", "code"),
    [
        ("revoked", "credential_revoked"),
        ("llmgw_ut_000000000000_wrong", "credential_unknown"),
        ("", "credential_unknown"),
        ("gateway", "credential_unknown"),
    ],
)
def test_a_credential_that_does_not_hold_is_refused(envoy: Envoy, credential: str, code: str) -> None:
    answer = envoy.chat(credential)
    assert (answer.status, answer.json["code"]) == (401, code)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_model_without_a_price_is_refused(envoy: Envoy) -> None:
    answer = envoy.chat("token", model="unheard-of")
    assert (answer.status, answer.json["code"]) == (403, "model_unpriced")


@pytest.mark.parametrize(("credential", "status"), [("local", 200), ("remote", 403)])
@pytest.mark.parametrize("forwarded", ["", "10.1.2.3", "10.1.2.3, 127.0.0.1"])
def test_the_address_is_that_of_the_connection(
    envoy: Envoy, credential: str, status: int, forwarded: str
) -> None:
    answer = envoy.chat(credential, headers={"x-forwarded-for": forwarded} if forwarded else {})
    assert answer.status == status
    if status == 403:
        assert answer.json["code"] == "address_not_allowed"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid"),
        (b"{}", 422, "invalid"),
        (b"{", 400, "malformed"),
        (b'{"n":1,"n":9}', 400, "malformed"),
    ],
)
def test_a_body_that_does_not_name_its_model_is_refused(
    envoy: Envoy, body: bytes, status: int, code: str
) -> None:
    answer = envoy.send("token", "/v1/chat/completions", body)
    assert (answer.status, answer.json["code"]) == (status, code)


def test_a_body_that_is_too_large_is_refused(envoy: Envoy, upstream: Upstream) -> None:
    before = len(upstream.seen)
    assert envoy.chat("token", padding="x" * (1 << 20)).status == 413
    assert len(upstream.seen) == before


def by_route(manager: dict[str, Any]) -> None:
    """Change the configuration as docs/connect-envoy.md says for routes with large bodies."""
    text = (env.REPO / "docs/connect-envoy.md").read_text()
    document = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    filters = manager["http_filters"]
    kind = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
    filters.insert(0, {"name": "envoy.filters.http.header_mutation", "typed_config": {"@type": kind}})
    filters[1]["typed_config"]["allowed_headers"]["patterns"].append({"exact": "x-llm-model"})
    manager["route_config"]["virtual_hosts"][0]["routes"][0] |= document


@pytest.fixture(scope="module")
def large(start_envoy: Callable[..., Envoy], upstream: Upstream) -> Envoy:
    """Envoy that names the model itself and forwards no body."""
    return start_envoy(upstream.port, by_route)


@pytest.mark.parametrize("headers", [{}, {"x-llm-model": "unheard-of"}])
def test_a_large_body_goes_through_where_the_route_names_the_model(
    large: Envoy, upstream: Upstream, headers: dict[str, str]
) -> None:
    body = {"padding_of_the_prompt": "x" * (3 << 20), "model": None}
    answer = large.chat("token", headers=headers, **body)
    assert answer.status == 200
    assert len(upstream.seen[-1][1]["padding_of_the_prompt"]) == 3 << 20
    assert large.chat("revoked", **body).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/",
        "/v1/files",
        "/v1/chat/completions/../../../../livez",
        "/v1/%2e%2e/%2e%2e/%2e%2e/livez",
        "/v1/chat%2fcompletions",
        "/v1/..%2f..%2f..%2flivez",
    ],
)
def test_only_calls_of_models_go_through(envoy: Envoy, upstream: Upstream, path: str) -> None:
    before = len(upstream.seen)
    assert envoy.chat("token", path).status in (400, 404)
    assert len(upstream.seen) == before


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_the_portal_answers_whatever_method_the_client_used(portal: Portal, method: str) -> None:
    headers = {
        "x-llm-gateway": portal.secrets["gateway"],
        "Authorization": f"Bearer {portal.secrets['token']}",
    }
    answer = ask(portal.port, method, f"{PREFIX}v1/any?thing=1", headers={**headers, "x-llm-model": MODEL})
    assert (answer.status, answer.body) == (200, b"")
    assert all(answer.headers[name] for name in OURS)
    assert answer.headers["x-llm-model"] == MODEL


@pytest.mark.parametrize("secret", [{}, {"x-llm-gateway": "llmgw_gw_wrong"}, {"x-llm-gateway": "of a token"}])
@pytest.mark.parametrize("body", [b'{"model":"gpt-4o-mini"}', b"{", b"{}"])
def test_a_stranger_learns_nothing(portal: Portal, secret: dict[str, str], body: bytes) -> None:
    if secret.get("x-llm-gateway") == "of a token":
        secret = {"x-llm-gateway": portal.secrets["token"]}
    headers = {"Authorization": f"Bearer {portal.secrets['token']}", **secret}
    answer = ask(portal.port, "POST", f"{PREFIX}v1/chat/completions", body, headers)
    assert (answer.status, answer.json["code"]) == (401, "gateway_unknown")


def test_without_the_portal_no_call_goes_through(envoy: Envoy, portal: Portal, upstream: Upstream) -> None:
    before = len(upstream.seen)
    portal.stop()
    try:
        answer: Any = envoy.chat("token")
    finally:
        portal.start()
    assert answer.status == 503
    assert len(upstream.seen) == before
    assert envoy.chat("token").status == 200

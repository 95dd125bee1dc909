"""Calls made from the published description: no 5xx, and no answer that it does not describe."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from portal.gateway import http
from tests.gateway.conftest import Scene

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_wsgi("/gateway/v1/openapi.json", http.answer)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
# What takes nothing can be given nothing wrong.
TURNS = [(label, POSITIVE) for label in OPERATIONS] + [
    (label, NEGATIVE) for label, operation in OPERATIONS.items() if operation.body or operation.headers
]
BOUNDED = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
@pytest.mark.parametrize(("label", "mode"), TURNS)
def test_every_answer_is_described(scene: Scene, label: str, mode: GenerationMode) -> None:
    held = scene.client.post("authorize", scene.call("held")).json["reservation_id"]
    statuses = set()

    @BOUNDED
    @given(OPERATIONS[label].as_strategy(generation_mode=mode), st.integers(0, 15))
    def answer_is_described(case: schemathesis.Case[Any], real: int) -> None:
        _make_real(case, real, scene, held)
        statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    answer_is_described()
    if mode == POSITIVE:
        assert statuses & {200, 204}, f"none of the calls was good: {statuses}"
    else:
        assert statuses & {400, 401, 403, 422}


def _make_real(case: schemathesis.Case[Any], real: int, scene: Scene, held: str) -> None:
    """Put in what no generator can guess: the gateway's secret, a credential, a model, a reservation."""
    headers: Any = case.headers
    if real & 1:
        headers["Authorization"] = f"Bearer {scene.client.secret}"
    if "ext_authz" in case.path:
        headers["Authorization"] = f"Bearer {scene.secret}"
        if real & 1:
            headers["x-llm-gateway"] = scene.client.secret
        if real & 2:
            headers["x-llm-model"] = "small"
    if case.path.endswith("/me") and real & 2:
        headers["X-LLM-Credential"] = scene.secret
    body: Any = case.body
    if isinstance(body, dict):
        known = {"credential": scene.secret, "model": "small", "reservation_id": held}
        for bit, name in enumerate(known, 1):
            if real & (1 << bit) and name in body:
                body[name] = known[name]
        events = body.get("events")
        for event in events if isinstance(events, list) else []:
            if isinstance(event, dict) and real & 2:
                event |= {"model": "small", "credential_id": scene.key.key_id}

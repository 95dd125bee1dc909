"""The OpenAPI document of the Gateway API, made from what the code checks by and the problems it answers with."""

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from portal.gateway.deadline import HEADER
from portal.gateway.schemas import SCHEMAS, ref
from portal.lib.problems import CONTENT_TYPE, PROBLEMS, problem

_JSON = "application/json"
_RESERVATION = "AQAAAaIN4ePfAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAMNQAAAAHmd4YTJ1dldw"

# What every endpoint may answer besides its own codes; those that read a body, more.
_ALWAYS = ("gateway_unknown", "internal", "unavailable")
_WITH_BODY = (*_ALWAYS, "malformed", "invalid", "too_large")
_CREDENTIAL = ("credential_unknown", "credential_expired", "credential_revoked", "credential_suspended")
_REFUSED = (
    *_CREDENTIAL,
    "not_a_member",
    "address_not_allowed",
    "project_inactive",
    "model_not_allowed",
    "model_unpriced",
    "limit_exceeded",
)


_EXAMPLE_LIMIT = {
    "scope": "project", "metric": "spend", "window": "day", "limit": "25", "used": "3.104", "remaining": "21.896",
    "resets_at": "2026-11-25T00:00:00Z",
}  # fmt: skip
_EXAMPLE_FAILED = {
    "scope": "project", "scope_name": "Project Claims triage", "metric": "spend", "window": "day", "limit": "25",
    "used": "24.9", "reserved": "0.09", "requested": "0.0325", "resets_at": "2026-11-25T00:00:00Z",
}  # fmt: skip
_EXAMPLE_REFUSED = {
    "detail": (
        "Project Claims triage: the limit of 25 USD spend a day has no room (24.99 USD used, 0.09 USD of it held by"
        " calls in flight; this call needs up to 0.0325 USD); it resets at 2026-11-25T00:00:00Z, or ask an owner of"
        " the project or an administrator to raise it."
    ),
    "request_id": "019a7b0e-1c5e-7d3a-9f00-5b1f0a6c2d11",
    "decision_id": "019a7b0e-1c60-7b1e-8a44-0d6a5f1f9b20",
    "explain_url": "https://portal.example.org/refusals/019a7b0e-1c60-7b1e-8a44-0d6a5f1f9b20/",
    "retryable": True,
    "binding": _EXAMPLE_FAILED,
    "failed": [_EXAMPLE_FAILED],
}  # fmt: skip


def _example(code: str) -> dict[str, Any]:
    if code == "limit_exceeded":
        return problem(code, **_EXAMPLE_REFUSED)
    if code == "invalid":
        return problem(code, errors=[{"field": "input_tokens", "detail": "must be a whole number"}])
    return problem(code)


def _problems(codes: Iterable[str]) -> dict[str, Any]:
    """Return the responses for the codes, by status."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    responses: dict[str, Any] = {}
    for status, group in sorted(by_status.items()):
        schema = ref("LimitExceeded") if group == ["limit_exceeded"] else {
            "allOf": [ref("Problem"), {"properties": {"code": {"enum": group}}}]
        }  # fmt: skip
        examples = {code: {"value": _example(code)} for code in group}
        responses[str(status)] = {
            "description": "; ".join(PROBLEMS[code][1] for code in group),
            "content": {CONTENT_TYPE: {"schema": schema, "examples": examples}},
        }
        if status in (429, 503):
            responses[str(status)]["headers"] = {
                "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}
            }
    return responses


def _answer(name: str, example: Any, description: str) -> dict[str, Any]:
    return {"description": description, "content": {_JSON: {"schema": ref(name), "example": example}}}


def _post(
    operation: str,
    summary: str,
    request: str,
    example: Any,
    good: dict[str, Any],
    codes: Iterable[str],
    parameters: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    body = {"required": True, "content": {_JSON: {"schema": ref(request), "example": example}}}
    return {
        "post": {
            "operationId": operation,
            "summary": summary,
            "parameters": list(parameters),
            "requestBody": body,
            "responses": good | _problems(codes),
        }
    }


def _ext_authz(method: str) -> dict[str, Any]:
    names = ("x-llm-reservation-id", "x-llm-request-id", "x-llm-project", "x-llm-user", "x-llm-model")
    return {
        "operationId": f"ext_authz_{method}",
        "summary": "Envoy's external authorization: the client's request with any method",
        "description": "The client's credential travels in Authorization, as it sent it.",
        "security": [],
        "responses": {
            "200": {
                "description": "It may go ahead",
                "headers": {name: {"schema": {"type": "string"}} for name in names},
            },
            **_problems((*_WITH_BODY, *_REFUSED)),
        },
    }


def _paths() -> dict[str, Any]:
    call = {
        "credential": "llmgw_ut_…", "model": "gpt-5-mini", "request_id": "019a7b0e-1c5e-7d3a-9f00-5b1f0a6c2d11",
        "input_tokens": 1200, "max_output_tokens": 800,
    }  # fmt: skip
    allowed = {
        "decision": "allow", "reservation_id": _RESERVATION, "expires_at": "2026-11-24T11:53:52Z",
        "reserved": "0.0325", "project": "claims-triage", "user": "carol@example.org",
        "credential_id": "gxa2uvWpQayA", "limits": [_EXAMPLE_LIMIT],
    }  # fmt: skip
    event = {
        "request_id": call["request_id"], "reservation_id": _RESERVATION, "model": "gpt-5-mini",
        "occurred_at": "2026-11-24T11:38:58Z", "input_tokens": 1200, "output_tokens": 412, "status": "ok",
    }  # fmt: skip
    credential = {
        "name": "X-LLM-Credential",
        "in": "header",
        "required": True,
        "schema": {"type": "string"},
        "description": "The user token or API key whose holder asks.",
    }
    deadline = {
        "name": HEADER,
        "in": "header",
        "schema": ref("Instant"),
        "description": (
            "Until when the answer is of use. A call that comes to its turn later, by the portal's clock, is dropped"
            " before anything is decided or reserved, with 503; one that is over by more than 30 s tells of a wrong"
            " clock and counts as not sent."
        ),
    }
    reservation = {"reservation_id": _RESERVATION}
    ok = _answer("Health", {"status": "ok"}, "Ready; degraded when Valkey is away")
    return {
        "/gateway/v1/authorize": _post(
            "authorize", "May this call go ahead?", "AuthorizeRequest", call,
            {"200": _answer("Allowed", allowed, "It may, and so much is reserved")},
            (*_WITH_BODY, *_REFUSED, "request_id_reused"), [deadline],
        ),
        "/gateway/v1/usage": _post(
            "usage", "What the calls used", "UsageRequest", {"events": [event]},
            {"200": _answer("UsageReport", {"accepted": 1, "duplicates": 0, "rejected": []}, "Committed")},
            _WITH_BODY,
        ),
        "/gateway/v1/release": _post(
            "release", "A call that was never sent, or of which no usage will come", "ReleaseRequest", reservation,
            {"204": {"description": "Nothing is reserved for it any more"}}, (*_WITH_BODY, "not_found"),
        ),
        "/gateway/v1/extend": _post(
            "extend", "A call that goes on", "ReservationRequest", reservation,
            {"200": _answer("Extended", {"expires_at": "2026-11-24T12:08:52Z"}, "Renewed")},
            (*_WITH_BODY, "not_found", "reservation_closed"),
        ),
        "/gateway/v1/me": {
            "get": {
                "operationId": "me",
                "summary": "What is left for the holder of a credential",
                "parameters": [credential],
                "responses": {
                    "200": _answer(
                        "Me",
                        {"project": "claims-triage", "user": "carol@example.org", "limits": [_EXAMPLE_LIMIT]},
                        "The limits that apply and what remains of each",
                    ),
                    **_problems((*_ALWAYS, *_CREDENTIAL, "not_a_member", "address_not_allowed", "project_inactive")),
                },
            }
        },
        "/gateway/v1/ext_authz/{path}": {
            "parameters": [
                {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}},
                {
                    "name": "x-llm-gateway",
                    "in": "header",
                    "required": True,
                    "schema": {"type": "string"},
                    "description": "The gateway's secret, added by Envoy and stripped from the client's request.",
                },
                {
                    "name": "x-llm-model",
                    "in": "header",
                    "schema": {"type": "string"},
                    "description": "The model, if it is not to be read from a forwarded body.",
                },
                {
                    "name": "x-llm-call-id",
                    "in": "header",
                    "schema": {"type": "string"},
                    "description": (
                        "Envoy's own name for the call, START_TIME in milliseconds, a hyphen, STREAM_ID: with it the"
                        " call can be released when its answer did not arrive."
                    ),
                },
            ],
            **{method: _ext_authz(method) for method in ("get", "post")},
        },
        "/gateway/v1/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This document",
                "security": [],
                "responses": {
                    "200": {"description": "OpenAPI 3.1", "content": {_JSON: {"schema": {"type": "object"}}}}
                },
            }
        },
        "/livez": {
            "get": {
                "operationId": "livez",
                "summary": "The process lives",
                "security": [],
                "responses": {"200": _answer("Health", {"status": "ok"}, "It does")},
            }
        },
        "/readyz": {
            "get": {
                "operationId": "readyz",
                "summary": "The portal can work",
                "security": [],
                "responses": {
                    "200": ok,
                    "503": _answer("Health", {"status": "unavailable"}, "Not at the moment"),
                },
            }
        },
    }  # fmt: skip


@lru_cache(maxsize=1)
def document() -> bytes:
    """Return the document as JSON."""
    content = {
        "openapi": "3.1.0",
        "info": {
            "title": "LLM Gateway portal: Gateway API",
            "version": "1",
            "description": (
                "What a gateway asks before and reports after a call to a model. Fields may be added to answers;"
                " unknown fields in requests are refused. Checked in this order: gateway, body, credential."
            ),
        },
        "security": [{"gateway": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "gateway": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The secret of a registered gateway, llmgw_gw_….",
                }
            },
            "schemas": SCHEMAS,
        },
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode()

"""The shapes of what the Gateway API reads and answers, as JSON Schema 2020-12."""

from collections.abc import Iterable
from typing import Any

from portal.gateway import bodies
from portal.lib.problems import PROBLEMS

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Return the reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _text(description: str, *, least: int = 1, most: int = 512, **more: Any) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": most, "description": description, **more}


def _count(description: str) -> Schema:
    return {"type": "integer", "minimum": 0, "maximum": bodies.MOST, "description": description}


def _object(required: Iterable[str], properties: dict[str, Schema], *, is_request: bool = False) -> Schema:
    """Return the schema of an object; a request with an unknown field is refused, an answer may have more."""
    closed = {"additionalProperties": False} if is_request else {}
    return {"type": "object", "required": list(required), "properties": properties, **closed}


_AMOUNT: Schema = {
    "anyOf": [ref("Money"), {"type": "integer"}],
    "description": "Money for the metric spend, else a number.",
}
_RESETS: Schema = {
    "anyOf": [ref("Instant"), {"type": "null"}],
    "description": "When it resets; null for calls in flight.",
}
_NAMED: dict[str, Schema] = {
    "scope": {
        "enum": [
            "organization",
            "group",
            "project",
            "project_group",
            "project_user",
            "user",
            "token",
            "api_key",
        ]
    },
    "metric": {"enum": ["spend", "requests", "tokens", "concurrency"]},
    "window": {"enum": ["minute", "day", "week", "month", "none"]},
}
_LIMIT = ("scope", "metric", "window", "limit", "used", "remaining", "resets_at")
_FAILED = (
    "scope",
    "scope_name",
    "metric",
    "window",
    "limit",
    "used",
    "reserved",
    "requested",
    "resets_at",
)
_FILTER = {"type": "string", "description": "The model, or the beginning of names, it is about."}
_NAME = {"type": "string", "description": "How people call the scope."}

SCHEMAS: dict[str, Schema] = {
    "Money": {
        "type": "string",
        "pattern": r"^-?\d+(\.\d{1,9})?$",
        "description": "A decimal in the organization's currency.",
        "examples": ["12.5"],
    },
    "Instant": {"type": "string", "format": "date-time", "examples": ["2026-11-24T11:38:52Z"]},
    "Limit": _object(
        _LIMIT,
        {
            **_NAMED,
            "limit": _AMOUNT,
            "used": {**_AMOUNT, "description": "Settled and reserved."},
            "remaining": _AMOUNT,
            "resets_at": _RESETS,
            "scope_name": _NAME,
            "model": _FILTER,
        },
    ),
    "FailedLimit": _object(
        _FAILED,
        {
            **_NAMED,
            "scope_name": _NAME,
            "model": _FILTER,
            "limit": _AMOUNT,
            "used": {**_AMOUNT, "description": "Settled."},
            "reserved": {**_AMOUNT, "description": "Held by calls in flight."},
            "requested": {**_AMOUNT, "description": "What this call could need."},
            "resets_at": _RESETS,
        },
    ),
    "AuthorizeRequest": _object(
        ("credential", "model", "request_id"),
        {
            "credential": _text("The user token or API key, as the client sent it.", least=0),
            "model": _text("The model, by its name in the price book or an alias."),
            "request_id": _text(
                "Made by the gateway and unique for it, never set by its client; UUIDv7 is best.", most=128
            ),
            "input_tokens": _count("Tokens of the input, if known."),
            "input_bytes": _count("Bytes of the input, if its tokens are not known."),
            "max_output_tokens": _count("The call's own cap."),
            "n": _count("How many answers; default 1."),
            "client_ip": _text("The client's address.", most=64),
            "user": _text("An e-mail address, honoured only for API keys trusted to name their user."),
            "stream": {"type": "boolean"},
        },
        is_request=True,
    ),
    "Allowed": _object(
        (
            "decision",
            "reservation_id",
            "expires_at",
            "reserved",
            "project",
            "user",
            "credential_id",
            "limits",
        ),
        {
            "decision": {"const": "allow"},
            "reservation_id": {"type": "string"},
            "expires_at": ref("Instant"),
            "reserved": ref("Money"),
            "project": {"type": "string", "description": "Its code."},
            "user": {"type": "string", "description": "The person or service, for display."},
            "credential_id": {"type": "string"},
            "limits": {"type": "array", "items": ref("Limit")},
            "failure_policy": ref("FailurePolicy"),
        },
    ),
    "FailurePolicy": _object(
        ("mode", "amount"),
        {
            "mode": {"enum": ["closed", "open"], "description": "What to do while the portal cannot decide."},
            "amount": {
                **ref("Money"),
                "description": "open: admit calls that cost no more than this together.",
            },
        },
    ),
    "UsageEvent": _object(
        ("request_id", "model", "occurred_at", "input_tokens", "output_tokens", "status"),
        {
            "request_id": _text("As at authorization.", most=128),
            "reservation_id": _text("As authorize answered it."),
            "credential_id": _text("Whose call it was, if it was never authorized.", most=64),
            "model": _text("The model that answered."),
            "occurred_at": {**ref("Instant"), "description": "At most 35 days ago."},
            "input_tokens": _count("All tokens of the input."),
            "output_tokens": _count("All tokens of the output."),
            "cached_input_tokens": _count("Of the input tokens, those read from a cache."),
            "cache_write_tokens": _count("Of the input tokens, those written to a cache."),
            "reasoning_tokens": _count("Of the output tokens, those of reasoning."),
            "status": {
                "enum": ["ok", "failed", "cancelled"],
                "description": "failed and cancelled: it had reached the provider.",
            },
            "cost": {**ref("Money"), "description": "The gateway's own figure; stored beside ours."},
        },
        is_request=True,
    ),
    "UsageRequest": _object(
        ("events",),
        {
            "events": {
                "type": "array",
                "minItems": 1,
                "maxItems": bodies.MAX_EVENTS,
                "items": ref("UsageEvent"),
                "description": "An event that is not valid is rejected by itself, never the others.",
            }
        },
        is_request=True,
    ),
    "UsageReport": _object(
        ("accepted", "duplicates", "rejected"),
        {
            "accepted": {"type": "integer", "minimum": 0, "description": "Committed to the record now."},
            "duplicates": {"type": "integer", "minimum": 0, "description": "Committed before."},
            "rejected": {
                "type": "array",
                "items": _object(
                    ("index", "code", "detail"),
                    {
                        "index": {"type": "integer", "minimum": 0},
                        "code": {
                            "enum": [
                                "invalid",
                                "in_future",
                                "too_old",
                                "not_found",
                                "unattributed",
                                "model_unpriced",
                            ]
                        },
                        "detail": {"type": "string"},
                    },
                ),
            },
        },
    ),
    "ReservationRequest": _object(
        ("reservation_id",), {"reservation_id": _text("As authorize answered it.")}, is_request=True
    ),
    "ReleaseRequest": _object(
        (),
        {
            "reservation_id": _text("As authorize answered it."),
            "call_id": _text(
                "Instead: what Envoy sent to ext_authz as x-llm-call-id, when no answer came.", most=128
            ),
            "is_sent": {
                "type": "boolean",
                "description": "The call was sent, and its usage will not be known: an estimate is booked at once.",
            },
        },
        is_request=True,
    )
    | {
        "oneOf": [
            {"required": ["reservation_id"]},
            {"required": ["call_id"], "properties": {"is_sent": {"const": False}}},
        ]
    },
    "Extended": _object(("expires_at",), {"expires_at": ref("Instant")}),
    "Me": _object(
        ("project", "user", "limits"),
        {
            "project": {"type": "string", "description": "Its code."},
            "user": {"type": "string"},
            "limits": {"type": "array", "items": ref("Limit")},
        },
    ),
    "Health": _object(
        ("status",),
        {
            "status": {"enum": ["ok", "degraded", "unavailable", "draining"]},
            "degraded": {"type": "array", "items": {"type": "string"}},
        },
    ),
    "Problem": _object(
        ("type", "title", "status", "detail", "code"),
        {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"enum": list(PROBLEMS)},
            "request_id": {"type": "string"},
            "decision_id": {"type": "string", "format": "uuid"},
            "errors": {
                "type": "array",
                "items": _object(
                    ("field", "detail"), {"field": {"type": "string"}, "detail": {"type": "string"}}
                ),
            },
        },
    ),
    "LimitExceeded": {
        "allOf": [
            ref("Problem"),
            _object(
                ("request_id", "decision_id", "explain_url", "retryable", "binding", "failed"),
                {
                    "code": {"const": "limit_exceeded"},
                    "explain_url": {"type": "string", "format": "uri"},
                    "retryable": {
                        "type": "boolean",
                        "description": "False when the call is larger than a whole limit.",
                    },
                    "binding": {**ref("FailedLimit"), "description": "The one that resets last."},
                    "failed": {"type": "array", "minItems": 1, "items": ref("FailedLimit")},
                },
            ),
        ]
    },
}

"""Problem documents: RFC 9457, ``application/problem+json``, with our fixed ``code``."""

import json
from collections.abc import Mapping
from typing import Any

CONTENT_TYPE = "application/problem+json"

# code -> (status, title, what to do). The body of a refused credential must not depend on the request, so these
# sentences are constants.
PROBLEMS: dict[str, tuple[int, str, str]] = {
    "malformed": (400, "The body is not JSON", "Send one JSON object encoded in UTF-8."),
    "invalid": (422, "A field is not valid", "Correct the fields named in errors."),
    "too_large": (413, "The body is too large", "Send at most 1 MiB."),
    "gateway_unknown": (
        401,
        "The gateway is not known",
        "Send the secret of a registered gateway in the Authorization header.",
    ),
    "credential_unknown": (
        401,
        "The credential is not known",
        "Check the secret, or ask the owner of the project for a new one.",
    ),
    "credential_expired": (401, "The credential has expired", "Ask the owner of the project for a new one."),
    "credential_revoked": (
        401,
        "The credential was revoked",
        "Ask the owner of the project for a new one.",
    ),
    "credential_suspended": (
        401,
        "The credential is suspended or not yet valid",
        "Ask the owner of the project from when on it is valid, or to resume it.",
    ),
    "not_a_member": (403, "The person is not a member of the project", "Ask the owner of the project."),
    "address_not_allowed": (
        403,
        "The address is not allowed",
        "Call from an address on the list of the credential.",
    ),
    "project_inactive": (403, "The project is not active", "Ask the owner of the project to resume it."),
    "model_not_allowed": (403, "The model is not allowed", "Use a model on the list of the project."),
    "model_unpriced": (
        403,
        "The model has no price",
        "Ask an administrator to add the model to the price book.",
    ),
    "limit_exceeded": (429, "A limit is reached", "Wait for the reset, or ask for a higher limit."),
    "request_id_reused": (
        409,
        "The request id was used before",
        "Make a new request id for every call to a model.",
    ),
    "reservation_closed": (409, "The reservation is settled or expired", "Authorize the call again."),
    "not_found": (404, "There is nothing here", "Check the address and the identifiers."),
    "method_not_allowed": (405, "The method is not allowed here", "Use the method of the documentation."),
    "internal": (500, "The portal made a mistake", "Tell an administrator the time of this answer."),
    "unavailable": (503, "The portal cannot decide at the moment", "Try again in a second."),
}


def problem(code: str, **members: Any) -> dict[str, Any]:
    """Return the problem document for the code; ``members`` add to it or replace its ``detail``."""
    status, title, detail = PROBLEMS[code]
    return {
        "type": f"urn:llm-gateway:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        **members,
    }


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def encode(document: Mapping[str, Any] | str) -> bytes:
    """Return the document as the bytes of the answer."""
    return _ENCODER.encode(document).encode()

"""Envoy's external authorization (HTTP service): the client's request, seen from beside it, as a call to decide.

Envoy repeats the client's method, path, Authorization header and – when told to – body, and adds ``x-llm-gateway``.
What it gets back are headers: on an allow they go on to the model and into Envoy's access log, from which usage
returns. See docs/connect-envoy.md.
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from portal.decision.decide import Allowed, Call
from portal.gateway import bodies
from portal.lib.uuid7 import uuid7, uuid7_of

PREFIX = "/gateway/v1/ext_authz/"
# When the call began, in milliseconds, and what Envoy calls it.
_CALL_ID = re.compile(r"(\d{13})-([0-9A-Za-z-]{16,64})", re.ASCII)
# The names by which protocols of models say how much a call may answer; a call that uses several gets the largest.
_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_READ = {"model", "n", "best_of", "prompt", *_CAPS}
# Printable ASCII without the percent sign, which starts an encoded byte.
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def gateway_secret(environ: dict[str, Any]) -> str:
    """Return the secret Envoy adds to the client's request."""
    secret: str = environ.get("HTTP_X_LLM_GATEWAY", "")
    return secret.strip()


def request_id_of(call_id: str) -> str | None:
    """Return the request id that the portal makes of Envoy's name for a call; None for what is no such name.

    The same name gives the same id: so Envoy can speak of a call that it has no answer about.
    """
    found = _CALL_ID.fullmatch(call_id)
    if found is None:
        return None
    named = hashlib.blake2b(found[2].encode(), digest_size=10).digest()
    return str(uuid7_of(int(found[1]), named))


def read_call(environ: dict[str, Any], credential: str, raw: bytes) -> Call:
    """Return the call with a request id of its own; raise Malformed or Invalid.

    The model comes from ``x-llm-model``, else from the body; two that differ are refused. Of a body that was cut off
    nothing is believed: the call counts as one whose body was not forwarded.
    """
    is_partial = environ.get("HTTP_X_ENVOY_AUTH_PARTIAL_BODY", "").lower() == "true"
    model = environ.get("HTTP_X_LLM_MODEL", "").strip() or None
    content = {} if is_partial or not raw else _parse(raw, environ, is_model_known=model is not None)
    if model is None and is_partial:
        detail = "is not known: the body was forwarded only in part, and there is no x-llm-model"
        raise bodies.Invalid([{"field": "model", "detail": detail}])
    if model is not None and content.get("model") not in (None, model):
        raise bodies.Invalid([{"field": "model", "detail": "differs from x-llm-model"}])
    fields = {
        "credential": credential,
        "model": model or content.get("model"),
        "request_id": request_id_of(environ.get("HTTP_X_LLM_CALL_ID", "")) or str(uuid7()),
        "input_bytes": len(raw) if raw and not is_partial else None,
        "max_output_tokens": max(_whole(content, _CAPS), default=None),
        "n": _answers(content),
        "client_ip": _client_ip(environ),
    }
    return bodies.read_fields({name: value for name, value in fields.items() if value is not None})


def headers(answer: Allowed, call: Call) -> list[tuple[str, str]]:
    """Return what an allow tells Envoy.

    Always all of them, an empty one if need be, since a header that Envoy sets replaces one the client sent.
    """
    return [
        ("x-llm-reservation-id", answer.reservation_id),
        ("x-llm-request-id", call.request_id),
        ("x-llm-project", header_safe(answer.project)),
        ("x-llm-user", header_safe(answer.user)),
        ("x-llm-model", header_safe(call.model)),
    ]


def header_safe(text: str) -> str:
    """Return the text as a header may carry it: UTF-8 bytes outside printable ASCII, and ``%``, percent-encoded."""
    return text if text.isascii() and text.isalnum() else quote(text, safe=_SAFE)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once)


def _parse(raw: bytes, environ: dict[str, Any], *, is_model_known: bool) -> dict[str, Any]:
    """Return the JSON object that the model will read in the body.

    A name twice, or in other letters, is refused: the model's server could read another value than we do. A form
    (audio, images) is believed for its size alone, where a header names the model.
    """
    if is_model_known and environ.get("CONTENT_TYPE", "").lower().startswith("multipart/form-data"):
        return {}

    try:
        content = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise bodies.Malformed from error
    if not isinstance(content, dict):
        raise bodies.Malformed
    for name in content:
        if name not in _READ and name.lower() in _READ:
            raise bodies.Invalid([{"field": name.lower(), "detail": "must be written in small letters"}])
    return content


def _whole(content: dict[str, Any], names: Iterable[str]) -> list[int]:
    """Return the numbers given under the names; raise Invalid for what is none or out of range."""
    given = {name: content[name] for name in names if content.get(name) is not None}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= bodies.MOST:
            detail = f"must be a whole number from 0 to {bodies.MOST}"
            raise bodies.Invalid([{"field": name, "detail": detail}])
    return list(given.values())


def _answers(content: dict[str, Any]) -> int | None:
    """Return how many answers the model will write: for each of the prompts, when there is a list of them."""
    prompts = content.get("prompt")
    many = (
        len(prompts) if isinstance(prompts, list) and any(isinstance(p, (str, list)) for p in prompts) else 1
    )
    each = max(_whole(content, ("n", "best_of")), default=1)
    return min(max(1, each) * many, bodies.MOST) if content else None


def _client_ip(environ: dict[str, Any]) -> str | None:
    """Return the client's address: what Envoy found it to be, else the last hop before Envoy.

    Everything further left in x-forwarded-for was written by whoever called.
    """
    hops = environ.get("HTTP_X_LLM_CLIENT_IP") or environ.get("HTTP_X_FORWARDED_FOR", "")
    return _address(hops.rpartition(",")[2].strip())


@lru_cache(maxsize=4096)
def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None

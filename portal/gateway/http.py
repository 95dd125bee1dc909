"""The Gateway API over HTTP: a WSGI callable in front of Django, without middleware, sessions or cookies.

The order of checks is that of the contract: gateway, body, credential. ``authorize`` does all three in one call to
Valkey; only when the body is wrong is the gateway asked about by itself, so that a stranger learns nothing.
"""

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from portal.decision import configuration, decide, decider, reservation, usage
from portal.decision.decide import Allowed, Refused
from portal.gateway import (
    admission,
    again,
    bodies,
    clock,
    deadline,
    documents,
    ext_authz,
    health,
    known,
    openapi,
)
from portal.lib import problems
from portal.lib.errors import Unavailable
from portal.lib.windows import rfc3339

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

log = logging.getLogger(__name__)
_Form = TypeVar("_Form")

MAX_BODY = 1 << 20
_REASONS = {
    200: "200 OK",
    204: "204 No Content",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    409: "409 Conflict",
    413: "413 Content Too Large",
    422: "422 Unprocessable Content",
    429: "429 Too Many Requests",
    500: "500 Internal Server Error",
    503: "503 Service Unavailable",
}
_HEADERS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
]
_JSON = "application/json"
_TO_ITS_ID = len("Bearer llmgw_gw_") + 12

_Answer = tuple[int, bytes, str, list[tuple[str, str]]]


class _Problem(Exception):
    def __init__(self, code: str, *, headers: list[tuple[str, str]] | None = None, **members: Any) -> None:
        super().__init__(code)
        self.document = problems.problem(code, **members)
        self.headers = headers or []


def _json(document: dict[str, Any], status: int = 200) -> _Answer:
    return status, problems.encode(document), _JSON, []


def _refuse(error: _Problem) -> _Answer:
    status = error.document["status"]
    headers = list(error.headers)
    if status == 401:
        headers.append(("WWW-Authenticate", "Bearer"))
    if status == 503 and not headers:
        headers.append(("Retry-After", admission.retry_after()))
    return status, problems.encode(error.document), problems.CONTENT_TYPE, headers


def _secret(environ: dict[str, Any]) -> str:
    scheme, _, secret = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _gateway(environ: dict[str, Any]) -> tuple[str, int]:
    """Return the id of the calling gateway and the time in milliseconds."""
    found = known.gateway(_secret(environ))
    if found is None:
        raise _Problem("gateway_unknown")
    return found


def _raw(environ: dict[str, Any]) -> bytes:
    try:
        length = int(environ.get("CONTENT_LENGTH") or -1)
    except ValueError:
        length = -1
    if length > MAX_BODY:
        raise _Problem("too_large")
    raw: bytes = environ["wsgi.input"].read(length if length >= 0 else MAX_BODY + 1)
    if len(raw) > MAX_BODY:
        raise _Problem("too_large")
    return raw


def _body(environ: dict[str, Any]) -> dict[str, Any]:
    try:
        return bodies.parse(_raw(environ))
    except bodies.Malformed as error:
        raise _Problem("malformed") from error


def _authorize(environ: dict[str, Any]) -> _Answer:
    if deadline.KEY in environ and deadline.has_passed(environ[deadline.KEY]):
        raise _Problem("unavailable", detail="The deadline of the call has passed: nothing was decided.")
    try:
        call = bodies.read_call(_raw(environ))
    except (bodies.Malformed, bodies.Invalid, _Problem) as error:
        _gateway(environ)
        raise _wrong(error) from error
    answer = decider.authorize(_secret(environ), call)
    if isinstance(answer, Allowed):
        if not again.is_new(call.request_id) and again.give_back_if_booked(answer, call):
            raise _Problem("request_id_reused")
        return 200, documents.allowed_json(answer, call.credential), _JSON, []
    return _refuse(_refusal(answer, call))


def _wrong(error: bodies.Malformed | bodies.Invalid | _Problem) -> _Problem:
    if isinstance(error, bodies.Malformed):
        return _Problem("malformed")
    if isinstance(error, bodies.Invalid):
        return _Problem("invalid", errors=error.errors)
    return error


def _ext_authz(environ: dict[str, Any]) -> _Answer:
    secret = ext_authz.gateway_secret(environ)
    try:
        call = ext_authz.read_call(environ, _secret(environ), _raw(environ))
    except (bodies.Malformed, bodies.Invalid, _Problem) as error:
        if known.gateway(secret) is None:
            raise _Problem("gateway_unknown") from error
        raise _wrong(error) from error
    answer = decider.authorize(secret, call)
    if isinstance(answer, Allowed):
        return 200, b"", "", ext_authz.headers(answer, call)
    return _refuse(_refusal(answer, call))


def _refusal(answer: Refused, call: decide.Call) -> _Problem:
    if answer.code == "limit_exceeded":
        document, wait = documents.limit_exceeded(
            answer, call.request_id, call.credential, configuration.best().currency
        )
        error = _Problem("limit_exceeded", headers=[("Retry-After", str(wait))])
        error.document = document
        return error
    if answer.code.startswith(("credential_", "gateway_")):
        # Unknown id and wrong secret answer alike, byte for byte.
        return _Problem(answer.code)
    return _Problem(answer.code, request_id=call.request_id, decision_id=answer.decision_id)


def _usage(environ: dict[str, Any]) -> _Answer:
    gateway, now = _gateway(environ)
    try:
        events, bad = bodies.read_events(_body(environ))
    except bodies.Invalid as error:
        raise _Problem("invalid", errors=error.errors) from error
    report = usage.record(gateway, events, now)
    clock.note(gateway, report.skew_ms)
    rejected = sorted([*bad, *report.rejected], key=lambda item: item.index)
    return _json(
        {
            "accepted": report.accepted,
            "duplicates": report.duplicates,
            "rejected": [{"index": r.index, "code": r.code, "detail": r.detail} for r in rejected],
        }
    )


def _form(environ: dict[str, Any], read: Callable[[dict[str, Any]], _Form]) -> _Form:
    try:
        return read(_body(environ))
    except bodies.Invalid as error:
        raise _Problem("invalid", errors=error.errors) from error


def _held(gateway: str, reservation_id: str) -> reservation.Reservation:
    held = reservation.decode(reservation_id)
    if held is None or held.gateway != gateway:
        raise _Problem("not_found", detail="This gateway has no such reservation.")
    return held


def _release(environ: dict[str, Any]) -> _Answer:
    gateway, _ = _gateway(environ)
    reservation_id, call_id, is_sent = _form(environ, bodies.read_release)
    if not call_id:
        (decider.end if is_sent else decider.release)(_held(gateway, reservation_id))
    elif request_id := ext_authz.request_id_of(call_id):
        decider.release_call(gateway, request_id)
    return 204, b"", "", []


def _extend(environ: dict[str, Any]) -> _Answer:
    gateway, _ = _gateway(environ)
    expires = decider.extend(_held(gateway, _form(environ, bodies.read_reservation)))
    if expires is None:
        raise _Problem("reservation_closed")
    return _json({"expires_at": rfc3339(expires / 1000)})


def _me(environ: dict[str, Any]) -> _Answer:
    _gateway(environ)
    secret = environ.get("HTTP_X_LLM_CREDENTIAL", "")
    answer = known.explain(secret)
    if answer.code not in ("allow", "limit_exceeded"):
        raise _Problem(answer.code)
    return _json(documents.me(answer, secret))


def _openapi(environ: dict[str, Any]) -> _Answer:
    return 200, openapi.document(), _JSON, []


def _livez(environ: dict[str, Any]) -> _Answer:
    return 200, b'{"status":"ok"}', _JSON, []


def _readyz(environ: dict[str, Any]) -> _Answer:
    status, body = health.ready()
    return status, body, _JSON, []


class _Route(NamedTuple):
    method: str
    handler: Callable[[dict[str, Any]], _Answer]
    # Whether it is admitted like others that work; what is not needs nobody.
    is_counted: bool = True
    # Whether it asks Postgres: a connection that a request has left behind is checked before its next use.
    asks_postgres: bool = True
    # Whether it can be sent again, and waits for Postgres.
    is_report: bool = False
    presents: str = "HTTP_AUTHORIZATION"


_ROUTES = {
    "/gateway/v1/authorize": _Route("POST", _authorize, asks_postgres=False),
    "/gateway/v1/usage": _Route("POST", _usage, is_report=True),
    "/gateway/v1/release": _Route("POST", _release),
    "/gateway/v1/extend": _Route("POST", _extend),
    "/gateway/v1/me": _Route("GET", _me, is_report=True),
    "/gateway/v1/openapi.json": _Route("GET", _openapi, is_counted=False, asks_postgres=False),
    "/livez": _Route("GET", _livez, is_counted=False, asks_postgres=False),
    "/readyz": _Route("GET", _readyz, is_counted=False),
}
# Envoy repeats the client's method and path behind the prefix.
_OF_ENVOY = _Route("", _ext_authz, asks_postgres=False, presents="HTTP_X_LLM_GATEWAY")


def _dispatch(environ: dict[str, Any]) -> _Answer:
    path = environ["PATH_INFO"]
    route = _ROUTES.get(path) or (_OF_ENVOY if path.startswith(ext_authz.PREFIX) else None)
    if route is None:
        return _refuse(_Problem("not_found"))
    method, handler, is_counted, asks_postgres, is_report, presents = route
    asked = environ["REQUEST_METHOD"]
    if asked != method and method and not (asked == "HEAD" and method == "GET"):
        return _refuse(_Problem("method_not_allowed", headers=[("Allow", method)]))
    number = None
    try:
        if asks_postgres:
            close_old_connections()
        if is_counted:
            # The id in the secret tells gateways apart, proved or not.
            number = admission.here.enter(environ.get(presents, "")[:_TO_ITS_ID], is_report)
            if number is None:
                raise _Problem("unavailable", detail="The portal has too much to do at once. Try again.")
        return handler(environ)
    except _Problem as error:
        return _refuse(error)
    except (Unavailable, DatabaseError, InterfaceError) as error:
        log.warning("%s: %s", environ["PATH_INFO"], error)
        connection.close()
        return _refuse(_Problem("unavailable"))
    except Exception:
        # A mistake of ours: the caller learns nothing of it, the log everything.
        log.exception("%s failed", environ["PATH_INFO"])
        connection.close()
        return _refuse(_Problem("internal"))
    finally:
        if number is not None:
            admission.here.leave(number)


def answer(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
    """Answer one request; every error is a problem document, none is a stack trace."""
    status, body, content_type, headers = _dispatch(environ)
    headers = [*_HEADERS, ("Content-Length", str(len(body))), *headers]
    if content_type:
        headers.append(("Content-Type", content_type))
    start_response(_REASONS[status], headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

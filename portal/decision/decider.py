"""Ask whoever decides: Valkey, or Postgres while Valkey cannot."""

import logging
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from portal.decision import decide, epoch, fallback, jobs, renewal
from portal.decision.decide import Allowed, Call, Explanation, Refused
from portal.decision.reservation import Reservation, record_key, request_hash
from portal.lib.errors import Unavailable

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")
_Asked = ParamSpec("_Asked")
_MOVE_EVERY = 0.2  # seconds; one process asks no more often whether it is time
_last_move = 0.0


def authorize(gateway_secret: str, call: Call, *, now_ms: int | None = None) -> Allowed | Refused:
    """Decide one call and reserve for it; raise Unavailable when nobody can decide at the moment."""

    answer = _either(decide.authorize, _by_postgres, gateway_secret, call, now_ms=now_ms)
    known = renewal.here()
    if known is not None and known.silent_since is not None:
        known.count(admitted=isinstance(answer, Allowed))
    return answer


def _by_postgres(gateway_secret: str, call: Call, *, now_ms: int | None = None) -> Allowed | Refused:
    decision = fallback.authorize(gateway_secret, call, now_ms=now_ms)
    if decision.refusal is not None:
        jobs.keep_refusals([decision.refusal])
    return decision.answer


def release(held: Reservation) -> None:
    """Give a reservation back because the call was never sent; nothing happens when it is gone."""
    _either(decide.release, fallback.release, held)


def release_call(gateway: str, request_id: str) -> None:
    """Give back what is reserved for a call of the gateway, whose answer did not arrive there."""
    _either(_release_call, fallback.release_call, record_key(gateway, request_hash(request_id)))


def _release_call(key: str) -> None:
    decide.ask("release", key, settings.TOMBSTONE_SECONDS)


def end(held: Reservation) -> None:
    """Let a reservation run out now: the call is over and was sent, and nobody will report what it used."""
    _either(_end, fallback.end, held)


def _end(held: Reservation) -> None:
    decide.ask("extend", held.key, 0, "")


def extend(held: Reservation, *, now_ms: int | None = None) -> int | None:
    """Renew a reservation; return when it expires now (milliseconds), or None when it is settled or expired."""
    return _either(decide.extend, fallback.extend, held, now_ms=now_ms)


def explain(key_id: str, **asked: Any) -> Explanation:
    """Say what would decide a call with the credential, reserving nothing."""
    return _either(decide.explain, fallback.explain, key_id, **asked)


def check_gateway(secret: str) -> tuple[str, int] | None:
    """Return the id of a known gateway and the time in milliseconds, or None; raise Unavailable without Valkey."""
    if _skips_valkey():
        raise Unavailable("Valkey does not decide")
    return decide.check_gateway(secret)


def _skips_valkey() -> bool:
    known = renewal.here()
    return known is not None and (known.postgres_decides() or known.is_valkey_silent())


def _either(
    by_valkey: Callable[_Asked, _Answer],
    by_postgres: Callable[_Asked, _Answer],
    *asked: _Asked.args,
    **named: _Asked.kwargs,
) -> _Answer:
    if not _skips_valkey():
        try:
            return by_valkey(*asked, **named)
        except Unavailable as error:
            log.info("Valkey does not decide: %s", error)
        except (DatabaseError, InterfaceError):
            # The lease has run out and Postgres, who would say whether Valkey may go on, cannot be asked. The threads
            # that renew may have got no turn on a busy machine: what they know is enough.
            known = renewal.here()
            if known is None or not known.renew():
                raise
            return by_valkey(*asked, **named)
    if not connection.in_atomic_block:
        close_old_connections()
    try:
        return by_postgres(*asked, **named)
    except fallback.NotDeciding:
        state = _move()
    if state == epoch.State.VALKEY and _skips_valkey():
        return by_valkey(*asked, **named)  # it decides again, and this process has not heard of it yet
    if state in fallback.BY_POSTGRES:
        return by_postgres(*asked, **named)
    raise Unavailable("nobody can decide at the moment")


def _move() -> str:
    """Take the decision from Valkey if it is time; return who decides."""
    global _last_move
    if time.monotonic() - _last_move < _MOVE_EVERY:
        return str(epoch.current().state)
    _last_move = time.monotonic()
    try:
        return epoch.move()
    except (DatabaseError, InterfaceError) as error:
        raise Unavailable("nobody can decide at the moment") from error

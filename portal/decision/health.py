"""How the decider and its counters are, asked without waiting: a page that tells of trouble must not hang in it.

When the minute's check last ran stands in no table, because a check that finds nothing writes nothing.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from redis.connection import Connection, parse_url
from redis.exceptions import RedisError, ResponseError

from portal.decision import valkey
from portal.lib.errors import Unavailable

_KEY = "checked"
_PATIENCE = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Decider:
    """The state of the decision in Valkey; epoch 0: it waits for its rebuild."""

    epoch: int
    open_reservations: int
    waiting_refusals: int
    last_check: datetime | None


def note_check() -> None:
    """Note that a check has just ended."""
    valkey.command("SET", _KEY, int(time.time()))


@contextmanager
def _briefly() -> Iterator[Connection]:
    """Lend a connection of its own; what does not answer within a second becomes Unavailable."""
    options = dict(parse_url(settings.REDIS_URL))
    kind = options.pop("connection_class", Connection)
    waits = {"socket_connect_timeout": _PATIENCE, "socket_timeout": _PATIENCE, "protocol": 2}
    connection: Connection = kind(**waits, **options)
    try:
        connection.connect()
        yield connection
    except (RedisError, OSError) as error:
        raise Unavailable("Valkey cannot be reached") from error
    finally:
        connection.disconnect()


def counters(names: Sequence[str]) -> list[Any]:
    """Return the counters as `read` gives them, for pages; raise Unavailable when they are not to be had at once."""
    if not names:
        return []
    with _briefly() as connection:
        connection.send_command("FCALL_RO", "read", 0, *names)
        answer: list[Any] = connection.read_response()
    if answer[0] != b"ok":
        raise Unavailable("The counters wait for their rebuild")
    return answer[1:]


def decider() -> Decider:
    """Return the state of the decider; raise Unavailable when it does not answer within a second."""
    with _briefly() as connection:
        connection.send_command("GET", _KEY)
        checked = connection.read_response()
        connection.send_command("FCALL_RO", "state", 0)
        state = _state(connection)
    last_check = datetime.fromtimestamp(int(checked), UTC) if checked else None
    if not state or state[0] != b"ok":
        return Decider(0, 0, 0, last_check)
    return Decider(state[2], state[4], state[5], last_check)


def _state(connection: Connection) -> list[Any]:
    try:
        answer: list[Any] = connection.read_response()
    except ResponseError as error:
        if "Function not found" in str(error):
            return []  # the next decision brings the functions back
        raise
    return answer

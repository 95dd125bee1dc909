"""How the decider is, asked without waiting for it: a page that tells of trouble must not hang in it.

When the minute's check last ran stands in no table, because a check that finds nothing writes nothing.
"""

import time
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


def decider() -> Decider:
    """Return the state of the decider; raise Unavailable when it does not answer within a second."""
    options = dict(parse_url(settings.REDIS_URL))
    kind = options.pop("connection_class", Connection)
    waits = {"socket_connect_timeout": _PATIENCE, "socket_timeout": _PATIENCE, "protocol": 2}
    connection: Connection = kind(**waits, **options)
    try:
        connection.connect()
        connection.send_command("GET", _KEY)
        checked = connection.read_response()
        connection.send_command("FCALL_RO", "state", 0)
        state = _state(connection)
    except (RedisError, OSError) as error:
        raise Unavailable("Valkey cannot be reached") from error
    finally:
        connection.disconnect()
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

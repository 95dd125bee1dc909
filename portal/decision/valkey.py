"""The connection to Valkey: one for each thread, one command at a time, no pool.

Every function of functions.lua may be sent twice without harm, so a connection that turns out to be dead is opened
again and the call repeated once.
"""

import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from hiredis import pack_command
from redis.connection import Connection, parse_url
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TimedOut

from portal.lib.errors import Unavailable

LIBRARY = Path(__file__).with_name("functions.lua").read_text(encoding="utf-8")
_local = threading.local()


def _connect() -> Connection:
    options = dict(parse_url(settings.REDIS_URL))
    kind = options.pop("connection_class", Connection)
    connection: Connection = kind(socket_connect_timeout=2, socket_timeout=5, protocol=2, **options)
    connection.connect()
    try:
        connection.send_command("FUNCTION", "LIST", "LIBRARYNAME", "portal", "WITHCODE")
        answer = connection.read_response()
        code = answer[0][answer[0].index(b"library_code") + 1] if answer else b""
        if code.decode() != LIBRARY:
            # Replacing the library forgets the epoch, so that new rules never run on old state.
            connection.send_command("FUNCTION", "LOAD", "REPLACE", LIBRARY)
            connection.read_response()
    except BaseException:
        connection.disconnect()
        raise
    return connection


def command(*arguments: Any) -> Any:
    """Send one command and return its answer; raise Unavailable when Valkey cannot be reached or is busy."""
    for last in (False, True):
        connection: Connection | None = getattr(_local, "connection", None)
        try:
            if connection is None:
                connection = _local.connection = _connect()
            connection.send_packed_command([pack_command(arguments)], check_health=False)
            return connection.read_response()
        except (LostConnection, TimedOut, OSError) as error:
            disconnect()
            if last:
                raise Unavailable("Valkey cannot be reached") from error
        except ResponseError as error:
            # The connection is sound; the library is gone when somebody flushed the functions.
            if "Function not found" not in str(error) or last:
                raise Unavailable(f"Valkey refused: {error}") from error
            disconnect()
        except RedisError as error:
            disconnect()
            raise Unavailable(f"Valkey: {error}") from error
        except BaseException:
            # An answer may be half read: the next call must not get it.
            disconnect()
            raise
    raise Unavailable("Valkey cannot be reached")


def call(function: str, *arguments: Any) -> list[Any]:
    """Call a function of the library and return its answer."""
    answer: list[Any] = command("FCALL", function, 0, *arguments)
    return answer


def disconnect() -> None:
    """Close this thread's connection."""
    connection: Connection | None = getattr(_local, "connection", None)
    if connection is not None:
        connection.disconnect()
        _local.connection = None

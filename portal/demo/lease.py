"""Sharing the embedded servers of a data directory between commands that come and go.

Whoever uses the servers holds a shared lock on `lease.lock`. The servers belong to a keeper, a small process of
its own that the first user starts; it restarts a server that dies, and it stops both and ends when it gets that
lock for itself, that is, when the last user has left – also one that was killed. So nobody pulls the servers
away from under anybody else, and nothing is left running when all are gone.

`python -m portal.demo.lease DIR` is the keeper.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from portal import env
from portal.demo import processes
from portal.demo.servers import Servers, ServersError

# Shared by every user, exclusive to the keeper that stops; one starter at a time; held by a living keeper.
_USERS, _START, _KEEPER = "lease.lock", "start.lock", "servers.lock"
_PATIENCE = 330.0  # longer than a server's own limit for crash recovery
_STOPPING = 60.0


class Lease:
    """The right to use the servers of a data directory, from `join` to `leave`."""

    def __init__(self, data_dir: Path, durable: bool = True, remove: bool = False) -> None:
        """`remove`: the keeper deletes the data directory when the last user has left (tests)."""
        self.data, self.durable, self.remove = data_dir.resolve(), durable, remove
        self.keeper: subprocess.Popen[bytes] | None = None
        self._held: IO[str] | None = None

    @property
    def urls(self) -> dict[str, str]:
        return env.embedded_urls(self.data)

    @property
    def descriptor(self) -> int:
        """The lock as a file descriptor: a child that inherits it keeps the servers as well."""
        if self._held is None:
            raise ServersError("The servers have not been joined.")
        return self._held.fileno()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        files = {"keeper": _KEEPER, "postgres": "pgdata/postmaster.pid", "valkey": "valkey/valkey.pid"}
        found = {name: _pid(self.data / file) for name, file in files.items()}
        return {name: pid for name, pid in found.items() if pid}

    def join(self) -> Lease:
        """Use the servers that run, or start them. Raises ServersError."""
        try:
            env.remember(self.data)
            self._held = users = _open(self.data / _USERS)
        except PermissionError as error:
            raise ServersError(
                f"{error.filename} belongs to another account; name a data directory of your own with --data-dir."
            ) from None
        # A keeper that is stopping holds it, briefly.
        if not processes.wait_until(lambda: _try_lock(users, fcntl.LOCK_SH), within=_STOPPING):
            raise ServersError(f"The servers of {self.data} are stopping and do not come to an end.")
        try:
            self.ensure()
        except BaseException:
            self.leave()
            raise
        return self

    def is_kept(self) -> bool:
        """Whether a keeper is alive."""
        return not _is_free(self.data / _KEEPER)

    def ensure(self) -> None:
        """Start the servers when no keeper is alive; wait until they answer."""
        with _open(self.data / _START) as start:
            if not processes.wait_until(lambda: _try_lock(start, fcntl.LOCK_EX), within=_PATIENCE):
                raise ServersError(
                    f"Another command has been starting the servers of {self.data} for too long."
                )
            if self.is_kept():
                if not processes.wait_until(Servers(self.data).answer, within=_PATIENCE):
                    raise ServersError(
                        f"The servers of {self.data} run but do not answer; see {self.data}/log."
                    )
            else:
                self._start_keeper()

    def leave(self) -> None:
        """Stop using the servers; wait for their end when nobody else uses them."""
        if self._held is None:
            return
        users, self._held = self._held, None
        with users:
            if _try_lock(users, fcntl.LOCK_EX):  # nobody else has it: ours is the last
                pid = _pid(self.data / _KEEPER)
                if pid and self.is_kept():
                    _signal(pid, signal.SIGTERM)
            elif _try_lock(users, fcntl.LOCK_SH):  # others go on
                return
            processes.wait_until(lambda: not self.is_kept(), within=_STOPPING)
        if self.keeper is not None:
            processes.stop(self.keeper, within=_STOPPING)

    def _start_keeper(self) -> None:
        if self.keeper is not None:
            processes.stop(self.keeper, within=_STOPPING)  # it has ended, and is buried here
        words = [sys.executable, "-m", "portal.demo.lease", str(self.data)]
        words += [] if self.durable else ["--not-durable"]
        words += ["--remove"] if self.remove else []
        log_directory = self.data / "log"
        log_directory.mkdir(mode=0o700, exist_ok=True)
        reader, writer = os.pipe()
        with os.fdopen(reader) as answer, os.fdopen(writer, "w") as its_side:
            with (log_directory / "keeper.log").open("a") as log:
                self.keeper = subprocess.Popen(
                    words,
                    cwd=env.REPO,
                    stdin=subprocess.DEVNULL,
                    stdout=its_side,
                    stderr=log,
                    start_new_session=True,
                )
            its_side.close()  # so that the end of the keeper is the end of its answer
            ready, _, _ = select.select([answer], [], [], _PATIENCE)
            said = answer.readline().strip() if ready else "no answer in time"
        if said != "ready":
            self.keeper.kill()
            self.keeper.wait()
            raise ServersError(said or f"The servers did not start; see {log_directory}.")


@contextmanager
def ensure_servers(data_dir: Path, durable: bool = True) -> Iterator[dict[str, str]]:
    """Servers for the length of a `with` block; gives DATABASE_URL, DATABASE_OWNER_URL and REDIS_URL."""
    lease = Lease(data_dir, durable).join()
    try:
        yield lease.urls
    finally:
        lease.leave()


def keep(data_dir: Path, durable: bool, remove: bool) -> None:
    """Run the servers until nobody uses them, or until a signal comes."""
    wake = _wake_on(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    servers = Servers(data_dir, durable)
    try:
        servers.start()
    except ServersError as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(1)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with _open(servers.data / _USERS) as users:
        failures, again = 0, 0.0
        while not (_try_lock(users, fcntl.LOCK_EX) or wake(0.25)):
            if time.monotonic() < again:
                continue
            try:
                started = servers.supervise()
            except ServersError as error:
                failures, again = failures + 1, time.monotonic() + min(30, 2**failures)
                _note(str(error))
            else:
                failures = 0
                if started:
                    _note(f"{' and '.join(started)} had died and runs again")
        servers.stop()
        if remove:
            shutil.rmtree(servers.data, ignore_errors=True)


def _wake_on(*signals: signal.Signals) -> Callable[[float], bool]:
    """A function that sleeps until a signal or the given seconds; whether a signal told us to stop."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    told = False

    def note(number: int, _frame: object) -> None:
        nonlocal told
        told = told or number != signal.SIGCHLD

    for number in signals:
        signal.signal(number, note)

    def wait(seconds: float) -> bool:
        if select.select([reader], [], [], seconds)[0]:
            os.read(reader, 512)
        return told

    return wait


def _note(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


def _open(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(path: Path) -> bool:
    try:
        with path.open() as file:
            return _try_lock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return True


def _pid(path: Path) -> int:
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=keep.__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--not-durable", action="store_true")
    parser.add_argument("--remove", action="store_true")
    chosen = parser.parse_args()
    keep(chosen.data_dir, not chosen.not_durable, chosen.remove)

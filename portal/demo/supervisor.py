"""Everything a demonstration needs in one process tree, started in order, kept alive, stopped in order.

Servers, migrations, static files, the stand-in for Microsoft's sign-in, sample data, web, worker, beat. What runs
is written to `demo.json` in the data directory; each child's output is in `log/`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from django.core.management import get_commands

from portal import env
from portal.demo import ports, processes
from portal.demo.identity import settings_for
from portal.demo.lease import Lease
from portal.demo.servers import ServersError
from portal.demo.watchdog import is_alive, signal_session

DEFAULT_PORT = 8000
_START_WITHIN = 120.0  # seconds until the web process answers
_STOP_WITHIN = 40.0  # longer than the worker's own limit for finishing what it does
_HEALTHY_AFTER = 60.0
_LONGEST_BACK_OFF = 30.0


class DemoError(Exception):
    """The demonstration cannot run; the text says why."""


class Stopped(Exception):
    """Somebody asked for the end."""


@dataclass
class Child:
    """A program that is to run as long as the supervisor does."""

    name: str
    words: list[str]
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    failures: int = 0
    again: float = 0.0


class Supervisor:
    """Runs the demonstration from `run` until a signal; use it from the main thread."""

    def __init__(
        self, data_dir: Path, port: int | None, say: Callable[[str], None], *, with_parent: bool = False
    ) -> None:
        """`port` None: the first free one. `with_parent`: stop when the process that started this one ends."""
        self.data, self.say = data_dir, say
        self.parent = os.getppid() if with_parent else None
        self.ports = ports.Ports()
        self.port = self._choose_port(port)
        self.identity_http = self.ports.take_from(self.port + 1)
        self.identity_https = self.ports.take_from(self.identity_http + 1)
        self.url = f"http://{ports.HOST}:{self.port}/"
        self.environment: dict[str, str] = {}
        self.children: dict[str, Child] = {}
        self.lease: Lease | None = None
        self.watchdog: subprocess.Popen[str] | None = None
        self._signals = 0
        self._written: object = None

    def run(self) -> None:
        """Start everything, say that it is ready, keep it alive until a signal comes, stop everything."""
        try:
            with ExitStack() as stack:
                stack.callback(self.ports.close)
                self._claim(stack)
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, self._on_signal)
                stack.callback(self._stop)
                self._start()
                self._keep_alive()
        except Stopped:
            pass

    # Starting

    def _choose_port(self, asked: int | None) -> int:
        if asked is None:
            return self.ports.take_from(DEFAULT_PORT)
        if not self.ports.take(asked):
            raise DemoError(f"Port {asked} is taken. Choose another with --port, or leave it out.")
        return asked

    def _claim(self, stack: ExitStack) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = stack.enter_context((self.data / "demo.lock").open("a"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"A demo runs in {self.data} already. Stop it, or name another --data-dir."
            ) from None

    def _start(self) -> None:
        env.remember(self.data)
        # Nobody proves presence to a stand-in, so it is not asked for unless somebody wants to see it.
        self.environment = {"PORTAL_STEP_UP": "0", **os.environ, "PORTAL_DATA_DIR": str(self.data)}
        if env.is_embedded():
            with _Step(self.say, "PostgreSQL and Valkey"):
                self.lease = Lease(self.data).join()
            self.environment |= self.lease.urls
        self._start_watchdog()
        sign_in = settings_for(self.data, self.identity_http, self.identity_https, self.url)
        for name in [name for name in self.environment if name.startswith(("ENTRA_", "GRAPH_"))]:
            del self.environment[name]
        self.environment |= sign_in
        env.remember(self.data, sign_in)

        self._start_child(
            "identity",
            *(sys.executable, "-m", "portal.demo.identity", "--data-dir", str(self.data)),
            *("--http-port", str(self.identity_http), "--https-port", str(self.identity_https)),
            *("--portal-url", self.url),
        )
        self._command("Migrations", "migrate", "--no-input", "--verbosity", "0")
        self._command("Static files", "collectstatic", "--no-input", "--verbosity", "0")
        with _Step(self.say, "Stand-in for Microsoft's sign-in"):
            self._wait_for(
                "identity", lambda: all(map(ports.is_listening, (self.identity_http, self.identity_https)))
            )
        if "load_sample_data" in get_commands():
            self._command("Sample data", "load_sample_data")
        with _Step(self.say, "Web, worker and beat"):
            self._start_portal()
            self._wait_for("web", self._is_ready)
        self.say(f"Portal ready at {self.url}")
        self.say(
            "Sign in as Elena Marsh (administrator) or as anybody else on the sign-in page. Ctrl-C stops."
        )

    def _start_portal(self) -> None:
        # There is no balancer to wait for.
        self.environment["PORTAL_DRAIN_SECONDS"] = "0"
        web = ["-m", "portal.serve", "--host", ports.HOST, "--port", str(self.port)]
        self._start_child("web", sys.executable, *web)
        celery = [sys.executable, "-m", "celery", "--app", "portal.celery"]
        worker = [
            "worker",
            "--concurrency",
            "2",
            "--loglevel",
            "warning",
            "--without-mingle",
            "--without-gossip",
        ]
        self._start_child("worker", *celery, *worker)
        beat = ["beat", "--loglevel", "warning", "--pidfile", ""]
        self._start_child("beat", *celery, *beat)

    def _command(self, title: str, *words: str) -> None:
        """Run a management command to its end."""
        with _Step(self.say, title):
            process = self._spawn(words[0], [sys.executable, "manage.py", *words])
            try:
                while process.poll() is None:
                    self._pause()
            finally:
                self._end_session(process)
            if process.returncode:
                raise DemoError(f"{words[0]} failed with status {process.returncode}.{self._tail(words[0])}")

    def _start_child(self, name: str, *words: str) -> None:
        self.children[name] = Child(name, list(words), self._spawn(name, list(words)))
        self._write_facts()

    def _spawn(self, name: str, words: list[str]) -> subprocess.Popen[bytes]:
        (self.data / "log").mkdir(mode=0o700, exist_ok=True)
        with (self.data / "log" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                words,
                cwd=env.REPO,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop the children in order
                preexec_fn=processes.dies_with_parent(signal.SIGTERM),
            )
        self._tell_watchdog(f"+{process.pid}")
        return process

    def _wait_for(self, name: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_WITHIN
        while not is_ready():
            status = self.children[name].process.poll()
            if status is not None:
                raise DemoError(f"{name} ended with status {status}.{self._tail(name)}")
            if time.monotonic() > deadline:
                raise DemoError(f"{name} is not ready after {_START_WITHIN:.0f} s.{self._tail(name)}")
            self._pause()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}readyz", timeout=5) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    # Running

    def _keep_alive(self) -> None:
        while True:
            self._pause()
            self._keep_servers()
            if self.watchdog is not None and self.watchdog.poll() is not None:
                self._start_watchdog()
            for child in self.children.values():
                self._keep_child(child)
            self._write_facts()

    def _keep_servers(self) -> None:
        """Their keeper restarts them; this restarts the keeper."""
        if self.lease is None or self.lease.is_kept():
            return
        try:
            self.lease.ensure()
        except ServersError as error:
            self.say(str(error))
            self._pause(2)
        else:
            self.say("The servers' keeper had ended; PostgreSQL and Valkey run again")

    def _keep_child(self, child: Child) -> None:
        now = time.monotonic()
        status = child.process.poll()
        if status is None:
            if child.failures and now - child.started > _HEALTHY_AFTER:
                child.failures = 0
            return
        if not child.again:
            self._end_session(child.process)  # its own children would keep its port and its work
            wait = min(_LONGEST_BACK_OFF, 0.5 * 2**child.failures) if child.failures else 0.0
            child.failures, child.again = child.failures + 1, now + wait
            self.say(f"{child.name} ended with status {status}; starting it again in {wait:.1f} s")
        if now >= child.again:
            child.process, child.started, child.again = self._spawn(child.name, child.words), now, 0.0

    def _start_watchdog(self) -> None:
        self.watchdog = subprocess.Popen(
            [sys.executable, "-m", "portal.demo.watchdog"],
            cwd=env.REPO,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=[self.lease.descriptor] if self.lease is not None else [],
        )
        for child in self.children.values():
            self._tell_watchdog(f"+{child.process.pid}")

    def _tell_watchdog(self, line: str) -> None:
        if self.watchdog is None or self.watchdog.stdin is None or self.watchdog.poll() is not None:
            return  # the next round starts it again and tells it everything
        self.watchdog.stdin.write(f"{line}\n")
        self.watchdog.stdin.flush()

    def _write_facts(self) -> None:
        pids = {name: child.process.pid for name, child in self.children.items()}
        pids["supervisor"] = os.getpid()
        if self.watchdog is not None:
            pids["watchdog"] = self.watchdog.pid
        if self.lease is not None:
            pids |= self.lease.pids
        facts = {
            "url": self.url,
            "pids": pids,
            "identity": self.environment["ENTRA_AUTHORITY"],
            "graph": self.environment["GRAPH_URL"],
        }
        if facts != self._written:
            env.write_json(self.data / "demo.json", facts)
            self._written = facts

    # Stopping

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._signals += 1

    def _pause(self, seconds: float = 0.1) -> None:
        """Let time pass; raises Stopped when a signal has come."""
        if not self._signals:
            time.sleep(seconds)
        if self._signals or self.parent not in (None, os.getppid()):
            raise Stopped

    def _stop(self) -> None:
        """Stop in order: who takes requests, who works, who is asked, the servers."""
        started = time.monotonic()
        self.say("Stopping …")
        for names in (["web"], ["worker", "beat"], ["identity"]):
            self._stop_children([self.children[name] for name in names if name in self.children])
        if self.watchdog is not None and self.watchdog.stdin is not None:
            self.watchdog.stdin.close()
            self.watchdog.wait()
        if self.lease is not None:
            self.lease.leave()
        (self.data / "demo.json").unlink(missing_ok=True)
        self.say(f"Everything has stopped ({time.monotonic() - started:.1f} s).")

    def _stop_children(self, children: list[Child]) -> None:
        asked = self._signals
        for child in children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + _STOP_WITHIN
        while any(child.process.poll() is None for child in children):
            if time.monotonic() > deadline or self._signals > max(asked, 1):  # a second Ctrl-C is impatience
                break
            time.sleep(0.05)
        for child in children:
            self._end_session(child.process)

    def _end_session(self, process: subprocess.Popen[bytes]) -> None:
        """End whatever is left of a child and its children."""
        signal_session(process.pid, signal.SIGKILL)
        process.wait()
        processes.wait_until(lambda: not is_alive(process.pid), within=5)
        self._tell_watchdog(f"-{process.pid}")

    def _tail(self, name: str) -> str:
        path = self.data / "log" / f"{name}.log"
        lines = path.read_text(errors="replace").splitlines()[-15:] if path.exists() else []
        return "\n".join([f" The end of {path}:", *lines])


class _Step:
    """Says what is being done and, at its end, how long it took."""

    def __init__(self, say: Callable[[str], None], title: str) -> None:
        self.say, self.title = say, title

    def __enter__(self) -> None:
        self.started = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.say(f"{self.title}: {time.monotonic() - self.started:.1f} s")

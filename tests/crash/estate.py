"""Everything side by side on one Postgres and one Valkey: two web, two workers, two beats, three gateways."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from portal import env
from portal.demo.servers import Servers
from tests.crash.proxies import Proxies

REVOKED = 3  # which of the credentials is revoked under way


def wait_for(condition: Callable[[], object], what: str, within: float = 180.0) -> None:
    """Ask again and again until it holds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within:.0f} s")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Estate:
    """Starts it all; what a nemesis hits is started again by `keep`."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory, self.data, self.seed = directory, directory / "data", seed
        self.logs = directory / "log"
        self.logs.mkdir()
        self.stop_file = directory / "stop"
        self.proxies = Proxies()
        self.words: dict[str, list[str]] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.servers = Servers(self.data).start()
        direct = env.embedded_urls(self.data)
        self.owner = direct["DATABASE_OWNER_URL"]
        password = env.read(self.data)["PORTAL_APP_PASSWORD"]
        valkey = env.reachable(self.data / "valkey") / "valkey.sock"
        postgres = env.reachable(self.data / "pgdata") / ".s.PGSQL.5432"
        self.redis = redis.Redis(unix_socket_path=str(valkey), socket_timeout=5)
        self.web_ports = [free_port(), free_port()]
        base = {name: value for name, value in os.environ.items() if not name.startswith("TEST_")}
        self.direct = {**base, **direct, "PORTAL_DATA_DIR": str(self.data)}
        self.environment = {
            **self.direct,
            "DATABASE_URL": f"postgresql://{env.APP_ROLE}:{password}@127.0.0.1:"
            f"{self.proxies.add('postgres', str(postgres))}/{env.DATABASE}",
            "REDIS_URL": f"redis://127.0.0.1:{self.proxies.add('valkey', str(valkey))}/0",
            "PORTAL_DRAIN_SECONDS": "1",
        }
        for number, port in enumerate(self.web_ports):
            self.proxies.add(f"gateways to web {number}", ("127.0.0.1", port))

    def begin(self) -> None:
        """Migrate, make what is needed, start everything and wait until it answers."""
        self.manage("migrate", "--no-input", "--verbosity", "0")
        made = subprocess.run(
            [sys.executable, "-m", "tests.crash.found"],
            cwd=env.REPO,
            env={**self.direct, "DJANGO_SETTINGS_MODULE": "portal.settings"},
            capture_output=True,
            check=True,
        )
        self.facts: dict[str, Any] = json.loads(made.stdout)
        celery = [sys.executable, "-m", "celery", "--app", "portal.celery"]
        for number, port in enumerate(self.web_ports):
            web = ["-m", "portal.serve", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
            self.start(f"web {number}", [sys.executable, *web])
            worker = ["worker", "--concurrency", "1", "--loglevel", "warning", "--without-mingle"]
            self.start(f"worker {number}", [*celery, *worker, "--without-gossip"])
            self.start(f"beat {number}", [*celery, "beat", "--loglevel", "warning", "--pidfile", ""])
        wait_for(self.is_ready, "web answers")
        for number, gateway in enumerate(self.facts["gateways"]):
            plan = self.directory / f"plan-{number}.json"
            content = {**gateway, "credentials": self.facts["credentials"], "seed": f"{self.seed}-{number}"}
            content |= {"history": str(self.history(number)), "stop": str(self.stop_file)}
            ports = [self.proxies.all[f"gateways to web {web}"].port for web in range(2)]
            plan.write_text(json.dumps({**content, "ports": ports}))
            self.start(f"gateway {number}", [sys.executable, "-m", "tests.crash.gateway", str(plan)])

    def history(self, number: int) -> Path:
        return self.directory / f"history-{number}.jsonl"

    def start(self, name: str, words: list[str] | None = None) -> None:
        """Start a process, or start it again."""
        self.words[name] = words or self.words[name]
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self.words[name], cwd=env.REPO, env=self.environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process and its children, or to a server."""
        if name in self.servers.pids:
            os.kill(self.servers.pids[name], number)
        else:
            os.killpg(self.running[name].pid, number)

    def kill(self, name: str) -> None:
        """End a process without a word and start it again."""
        self.signal(name, signal.SIGKILL)
        if name in self.servers.pids:
            wait_for(lambda: self.servers.supervise(), f"{name} is started again")
        else:
            self.running[name].wait()
            self.start(name)

    def restart(self, name: str) -> None:
        """End a process as an operator does, and start it again."""
        self.running[name].terminate()
        try:
            self.running[name].wait(60)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{name} does not end on SIGTERM") from error
        self.start(name)

    def keep(self) -> None:
        """Start again what has ended by itself, as whatever runs processes does; a gateway that has is a finding."""
        for name, process in self.running.items():
            if name.startswith("gateway"):
                assert process.poll() is None, f"{name} ended with {process.returncode}"
        self.keep_portal()

    def keep_portal(self) -> None:
        for name, process in list(self.running.items()):
            if process.poll() is not None and not name.startswith("gateway"):
                self.start(name)

    def are_running(self, names: list[str]) -> bool:
        return any(self.running[name].poll() is None for name in names)

    def is_ready(self) -> bool:
        """Whether both web processes are."""
        return all(map(_is_ready, self.web_ports))

    def manage(self, *words: str, direct: bool = True) -> str:
        """Run a command to its end and return what it says; raise AssertionError unless it ends well."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=env.REPO,
            env=self.direct if direct else self.environment,
            capture_output=True,
            text=True,
            timeout=180,
        )
        if done.returncode:
            raise AssertionError(f"{words[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def close(self) -> None:
        for name, process in self.running.items():
            if process.poll() is None:
                self.signal(name, signal.SIGCONT)
                self.signal(name, signal.SIGKILL)
            process.wait()
        self.redis.close()
        self.servers.stop()
        self.proxies.close()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(json.load(answer) == {"status": "ok"})
    except (OSError, ValueError):
        return False

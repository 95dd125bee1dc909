"""The two programs of these tests: the portal's web process on servers of its own, and the LiteLLM proxy."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from portal import env
from portal.demo import ports, processes
from portal.demo.lease import Lease
from tests.litellm import environment

ADAPTER = env.REPO / "portal" / "gateway" / "adapters" / "litellm.py"
MASTER_KEY = "sk-master-key-of-the-tests"


def until(condition: Callable[[], Any], within: float = 90.0, what: str = "") -> Any:
    """Ask until the answer is true and return it; fail when it does not become so in time."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:.0f} s: {what or condition}")
        time.sleep(0.05)
    return found


def answers(port: int, path: str) -> bool:
    """Whether a server on the port answers the path with 200."""
    connection = http.client.HTTPConnection(ports.HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Program:
    """A process that is started, asked whether it is ready, and stopped."""

    def __init__(
        self, words: list[str], environment: dict[str, str], cwd: Path, log: Path, port: int, path: str
    ) -> None:
        self.words, self.environment, self.cwd, self.log = words, environment, cwd, log
        self.port, self.path = port, path
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; `ready` waits until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.words,
                cwd=self.cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=processes.dies_with_parent(signal.SIGTERM),
            )

    def ready(self, within: float = 90.0) -> None:
        """Wait until it answers."""
        process = self.process
        assert process is not None

        def is_ready() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"{self.words[0]} ended: {self.log.read_text()[-3000:]}")
            return answers(self.port, self.path)

        until(is_ready, within, f"port {self.port} answers {self.path}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal to the whole group and wait for the end."""
        if self.process is None:
            return
        for chosen in (number, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, chosen)
                self.process.wait(timeout=20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self.process.wait()
        self.process = None


class Portal:
    """A portal with an empty database: its web process and its office."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.lease = Lease(data).join()
        self.ports = ports.Ports()
        self.port = self.ports.take_from(8700)
        self.url = f"http://{ports.HOST}:{self.port}"
        without = (
            "DATABASE_URL",
            "DATABASE_OWNER_URL",
            "REDIS_URL",
            "ENTRA_",
            "GRAPH_",
            "PORTAL_",
            "TEST_DATABASE",
        )
        base = {name: value for name, value in os.environ.items() if not name.startswith(without)}
        self.environment = base | self.lease.urls
        self.environment |= {
            "PORTAL_DATA_DIR": str(data),
            "PORTAL_BASE_URL": self.url,
            "PYTHONPATH": str(env.REPO),
        }
        self.environment["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        words = [sys.executable, "manage.py", "migrate", "--no-input", "--skip-checks", "--verbosity", "0"]
        as_owner = self.environment | {"DATABASE_URL": self.lease.urls["DATABASE_OWNER_URL"]}
        subprocess.run(words, cwd=env.REPO, env=as_owner, check=True)
        words = [
            sys.executable,
            "-m",
            "granian",
            "--interface",
            "wsgi",
            "--host",
            ports.HOST,
            "--port",
            str(self.port),
        ]
        words += ["--blocking-threads", "8", "--no-access-log", "portal.wsgi:application"]
        self.web = Program(words, self.environment, env.REPO, data / "web.log", self.port, "/readyz")
        self.office = subprocess.Popen(
            [sys.executable, "-m", "tests.litellm.office"],
            cwd=env.REPO,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=processes.dies_with_parent(signal.SIGTERM),
        )

    def ask(self, name: str, /, **arguments: Any) -> Any:
        """Let the office do something."""
        assert self.office.stdin is not None
        assert self.office.stdout is not None
        self.office.stdin.write(json.dumps([name, arguments]) + "\n")
        self.office.stdin.flush()
        found = json.loads(self.office.stdout.readline() or '{"error": "the office has ended"}')
        if "error" in found:
            raise AssertionError(f"{name} {arguments}: {found['error']}")
        return found["answer"]

    def stop(self) -> None:
        """Stop everything."""
        self.web.end()
        assert self.office.stdin is not None
        assert self.office.stdout is not None
        self.office.stdin.close()
        self.office.wait()
        self.office.stdout.close()
        self.lease.leave()
        self.ports.close()


class Proxy(Program):
    """The LiteLLM proxy with the adapter beside its configuration."""

    def __init__(self, directory: Path, portal_url: str, secret: str, config: str, **variables: str) -> None:
        directory.mkdir()
        shutil.copy(ADAPTER, directory / "llm_portal.py")
        (directory / "config.yaml").write_text(config)
        self.directory, self.spool = directory, directory / "spool"
        self.ports = ports.Ports()
        port = self.ports.take_from(8800)
        self.url = f"http://{ports.HOST}:{port}"
        python = environment.PYTHON
        words = [str(python.with_name("litellm")), "--config", "config.yaml", "--host", ports.HOST]
        words += ["--port", str(port), "--telemetry", "False", "--num_workers", "1"]
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")
        variables = {name: os.environ[name] for name in kept if name in os.environ} | {
            "LLM_PORTAL_URL": portal_url,
            "LLM_PORTAL_GATEWAY_SECRET": secret,
            "LLM_PORTAL_SPOOL": str(self.spool),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
            "PYTHONUNBUFFERED": "1",
            **variables,
        }
        super().__init__(words, variables, directory, directory / "litellm.log", port, "/health/liveliness")

    def stop(self) -> None:
        """Stop it for good."""
        self.end()
        self.ports.close()

    def waiting(self) -> int:
        """Return how many records wait in the spool."""
        found = [
            path.read_text().splitlines()
            for path in self.spool.glob("*.jsonl")
            if path.name != "rejected.jsonl"
        ]
        return sum(1 for lines in found for line in lines if line.strip())

"""`manage.py demo` as a person runs it: one command up, one Ctrl-C down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from portal import env
from portal.demo import ports, processes
from tests.demo.conftest import kill, processes_in

pytestmark = pytest.mark.slow


class Demo:
    """A running demonstration and what it printed until it was ready."""

    def __init__(self, data: Path, port: int) -> None:
        self.data = data
        without = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "PORTAL_DATA_DIR")
        self.environment = {name: value for name, value in os.environ.items() if name not in without}
        self.output = (data.parent / "output").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--port", str(port), "--data-dir", str(data)],
            cwd=env.REPO,
            env=self.environment,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )
        ready = f"Portal ready at http://127.0.0.1:{port}/"
        processes.wait_until(lambda: self.process.poll() is not None or ready in self.lines(), within=180)
        assert ready in self.lines(), self.lines()

    def lines(self) -> list[str]:
        return Path(self.output.name).read_text().splitlines()

    @property
    def facts(self) -> dict[str, Any]:
        return dict(json.loads((self.data / "demo.json").read_text()))

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.facts['url']}readyz", timeout=5) as answer:
                return bool(answer.status == 200 and json.load(answer) == {"status": "ok"})
        except OSError:
            return False

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *words, "--data-dir", str(self.data)],
            cwd=env.REPO,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def everybody(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    free = ports.Ports()
    port = free.take_from(8700)
    free.close()
    running = Demo(tmp_path_factory.mktemp("demo") / "data", port)
    yield running
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(60)
    running.output.close()


def test_everything_runs_and_is_ready(demo: Demo) -> None:
    assert demo.is_ready()
    named = {"supervisor", "watchdog", "keeper", "postgres", "valkey", "identity", "web", "worker", "beat"}
    assert set(demo.facts["pids"]) == named
    assert all(map(psutil.pid_exists, demo.facts["pids"].values()))


def test_another_command_joins_the_servers_of_the_demo(demo: Demo) -> None:
    before = demo.facts["pids"]
    assert demo.manage("migrate", "--check").returncode == 0
    assert demo.facts["pids"] == before
    assert demo.is_ready()


@pytest.mark.parametrize("name", ["web", "worker", "beat", "identity", "postgres", "valkey", "keeper"])
def test_what_is_killed_comes_back(demo: Demo, name: str) -> None:
    before = demo.facts["pids"][name]
    kill(before)
    assert processes.wait_until(lambda: demo.facts["pids"].get(name, before) != before, within=60)
    assert processes.wait_until(demo.is_ready, within=60, every=0.2), demo.lines()


def test_ctrl_c_leaves_nothing_running(demo: Demo) -> None:
    everybody = demo.everybody()
    assert len(everybody) > 8
    started = time.monotonic()
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(60) == 0
    assert time.monotonic() - started < 60
    assert all(map(processes.is_gone, everybody))
    assert processes_in(demo.data) == []
    assert demo.lines()[-1].startswith("Everything has stopped")

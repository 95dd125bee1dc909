"""The process tree of the demonstration, here with children that only wait: nothing outlives it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from portal.demo import ports, processes
from portal.demo.supervisor import DemoError, Supervisor
from tests.demo.conftest import Run, kill

# `web` has a child of its own, as a server with workers has; the child is deaf to SIGTERM.
SMALL = """if True:
    import sys
    from pathlib import Path
    from portal.demo.supervisor import Supervisor

    DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    PARENT = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {DEAF!r}]); time.sleep(600)"

    class Small(Supervisor):
        def _start(self):
            self.environment = {"ENTRA_AUTHORITY": "", "GRAPH_URL": ""}
            self._start_watchdog()
            self._start_child("web", sys.executable, "-c", PARENT, str(self.data))
            self._start_child("worker", sys.executable, "-c", "import time; time.sleep(600)", str(self.data))
            self.say("ready")

    Small(Path(sys.argv[1]), None, lambda text: print(text, flush=True)).run()
    """


class Tree:
    """A running supervisor and what it says about itself."""

    def __init__(self, process: subprocess.Popen[str], data: Path) -> None:
        self.process, self.data = process, data
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert processes.wait_until(lambda: bool(self.children_of("web")), within=90)
        self.everybody = [process for pid in self.pids.values() for process in self.family(pid)]
        assert len(self.everybody) >= 5  # supervisor, watchdog, web and its child, worker

    @property
    def pids(self) -> dict[str, int]:
        facts: dict[str, Any] = json.loads((self.data / "demo.json").read_text())
        return dict(facts["pids"])

    def children_of(self, name: str) -> list[psutil.Process]:
        return psutil.Process(self.pids[name]).children(recursive=True)

    def family(self, pid: int) -> list[psutil.Process]:
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]

    def is_gone(self) -> bool:
        return all(map(processes.is_gone, self.everybody))


@pytest.fixture
def tree(tmp_path: Path, run_python: Run) -> Tree:
    return Tree(run_python(SMALL, tmp_path), tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_order(tree: Tree, number: signal.Signals) -> None:
    tree.process.send_signal(number)
    said = tree.process.communicate()[0]
    assert tree.process.returncode == 0
    assert said.splitlines()[-1].startswith("Everything has stopped")
    assert tree.is_gone()
    assert not (tree.data / "demo.json").exists()


def test_nothing_is_left_of_a_killed_supervisor(tree: Tree) -> None:
    kill(tree.process.pid)
    assert processes.wait_until(tree.is_gone, within=90)


def test_a_killed_child_is_started_again_without_its_old_children(tree: Tree) -> None:
    before, orphans = tree.pids, tree.children_of("web")
    kill(before["web"])
    assert processes.wait_until(lambda: tree.pids["web"] != before["web"], within=90)
    assert all(map(processes.is_gone, orphans))
    assert tree.pids["worker"] == before["worker"]


def test_a_killed_watchdog_is_replaced_and_knows_everybody(tree: Tree) -> None:
    before = tree.pids["watchdog"]
    kill(before)
    assert processes.wait_until(lambda: tree.pids["watchdog"] != before, within=90)
    tree.everybody.append(psutil.Process(tree.pids["watchdog"]))
    kill(tree.process.pid)
    assert processes.wait_until(tree.is_gone, within=90)


def test_a_second_demo_in_the_same_directory_is_refused(tree: Tree) -> None:
    with pytest.raises(DemoError, match="A demo runs in"):
        Supervisor(tree.data, None, lambda _: None).run()
    assert tree.process.poll() is None


def test_a_port_that_is_taken_is_refused_when_it_was_asked_for(tmp_path: Path) -> None:
    with socket.create_server((ports.HOST, 0)) as listener:
        taken = listener.getsockname()[1]
        with pytest.raises(DemoError, match=f"Port {taken} is taken"):
            Supervisor(tmp_path, taken, lambda _: None)


def test_two_demos_that_start_at_once_take_different_ports() -> None:
    one, other = ports.Ports(), ports.Ports()
    first = one.take_from(8700)
    assert other.take_from(first) > first
    one.close()
    assert other.take(first)
    other.close()

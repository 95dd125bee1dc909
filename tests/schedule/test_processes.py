"""Workers that are killed, messages that come twice, beats side by side, a Valkey that comes back empty."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from portal import env
from portal.celery import app
from portal.decision import valkey
from portal.schedule import slots
from portal.schedule.models import Slot


def until(condition: Callable[[], object], within: float = 180.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Office:
    """Workers and beats on the test's servers, and what their tasks have written."""

    def __init__(self, directory: Path) -> None:
        self.file, self.log = directory / "lines", directory / "log"
        self.file.touch()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, interval: float = 0.0) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "DATABASE_URL": os.environ["TEST_DATABASE_APP_URL"],
            "PORTAL_TEST_LINES": str(self.file),
        }
        if interval:
            environment["PORTAL_TEST_INTERVAL"] = str(interval)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "--app", "tests.worker_application", *words],
                cwd=env.REPO,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def worker(self, interval: float = 0.0) -> subprocess.Popen[bytes]:
        words = ("worker", "--concurrency", "1", "--without-mingle", "--without-gossip", "--loglevel", "info")
        return self.start(*words, interval=interval)

    def beat(self, interval: float) -> subprocess.Popen[bytes]:
        return self.start("beat", "--pidfile", "", interval=interval)

    def lines(self, kind: str) -> list[list[str]]:
        return [line.split(" ") for line in self.file.read_text().splitlines() if line.startswith(kind)]

    def turns(self) -> list[str]:
        return [line[2] for line in self.lines("end") if line[2]]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def office(clean_state: None, tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.close()


def send(slot: datetime | None = None, task_id: str | None = None, seconds: float = 0.0) -> None:
    headers = slots.headers("by hand", slot) if slot else {}
    app.send_task("tests.take_down", kwargs={"seconds": seconds}, headers=headers, task_id=task_id)


@pytest.mark.slow
def test_what_a_killed_worker_had_begun_is_done_once_by_another(office: Office) -> None:
    office.worker()
    now = datetime.now(UTC).replace(microsecond=0)
    send(now, "the-one", seconds=3)
    until(lambda: office.lines("begin"))

    os.kill(int(office.lines("begin")[0][3]), signal.SIGKILL)

    # The turn is marked as done after its work.
    until(lambda: Slot.objects.filter(job="by hand", finished__isnull=False).exists())
    assert [line[1] for line in office.lines("begin")] == ["the-one", "the-one"]
    assert len(office.lines("end")) == 1
    [slot] = Slot.objects.filter(job="by hand")
    assert slot.finished
    assert slot.attempts == 2


@pytest.mark.slow
def test_a_message_that_comes_twice_runs_once(office: Office) -> None:
    office.worker()
    now = datetime.now(UTC).replace(microsecond=0)
    send(now, "twin")
    send(now, "twin")
    send(now, "another")
    send(None, "last")

    until(lambda: any(line[1] == "last" for line in office.lines("end")))
    assert len(office.turns()) == 1


@pytest.mark.slow
def test_two_beats_and_a_valkey_that_comes_back_empty_miss_no_turn_and_run_none_twice(office: Office) -> None:
    for _ in range(2):
        office.worker(interval=2)
        office.beat(interval=2)
    until(lambda: len(office.turns()) >= 3)

    # One beat is started again while the other goes on, and the broker loses everything.
    os.killpg(office.processes[1].pid, signal.SIGKILL)
    office.beat(interval=2)
    valkey.command("FLUSHALL")

    seen = len(office.turns())
    until(lambda: len(office.turns()) >= seen + 3)
    turns = office.turns()
    assert len(turns) == len(set(turns))
    # A turn is marked as done after its work.
    done = Slot.objects.filter(job="take down", finished__isnull=False)
    until(lambda: {slot.isoformat() for slot in done.values_list("scheduled_for", flat=True)} >= set(turns))

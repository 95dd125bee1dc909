"""Kill what the demonstration runs, at random and without a word, in the middle of a replay; then compare the books.

A seed decides who is killed and when. See chaos.py for more kinds of hits on more processes.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from portal import env
from portal.demo import ports
from portal.lib.money import decimal_string, to_nano

PRICES = ("2.500000001", "9.999999999")
SPEED = 250  # calls a second: the trace has one a second
VICTIMS = ("web", "worker", "valkey", "postgres", "flush")


def wait_for(condition: Callable[[], bool], what: str, within: float = 180.0) -> None:
    """Ask again and again until it holds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within:.0f} s")
        time.sleep(0.05)


class Portal:
    """A demonstration of its own, with everything in it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        without = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "PORTAL_DATA_DIR")
        self.environment = {name: value for name, value in os.environ.items() if name not in without}
        self.environment["PORTAL_DATA_DIR"] = str(data)
        free = ports.Ports()
        port = free.take_from(8800)
        free.close()
        self.log = data.parent / "demo.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--port", str(port)],
                cwd=env.REPO,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: self._has_ended() or "Portal ready at" in self.log.read_text(), "the demo", 180)
        if self._has_ended():
            raise AssertionError(self.log.read_text())

    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(90)
        finally:
            self.process.kill()

    @property
    def facts(self) -> dict[str, Any]:
        return dict(json.loads((self.data / "demo.json").read_text()))

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.facts['url']}readyz", timeout=5) as answer:
                return bool(json.load(answer) == {"status": "ok"})
        except (OSError, ValueError):
            return False

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", *words],
            cwd=env.REPO,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def manage(self, *words: str) -> str:
        """Run a command to its end and return what it says; raise AssertionError unless it ends well."""
        with self.start(*words) as process:
            output, errors = process.communicate(timeout=120)
        if process.returncode:
            raise AssertionError(f"{words[0]} ended with {process.returncode}: {output}{errors}")
        return output

    def lost(self, since: float) -> int:
        """Return the most that reservations lost since the moment can have held."""
        text = (
            "from datetime import UTC, datetime; from portal.decision.lost import count_lost, lost_since;"
            f"count_lost(); print(lost_since(datetime.fromtimestamp({since}, UTC)).reserved)"
        )
        return int(self.manage("shell", "--no-imports", "-c", text).split()[-1])

    def hit(self, victim: str) -> None:
        """Kill one process and wait until it is there again."""
        if victim == "flush":
            with suppress(OSError):
                _flush(self.environment, self.data)
            return
        before = self.facts["pids"].get(victim)
        if before is None:
            return
        with suppress(ProcessLookupError):
            os.kill(before, signal.SIGKILL)
        wait_for(lambda: self.facts["pids"].get(victim, before) != before, f"{victim} is started again")


def _flush(environment: dict[str, str], data: Path) -> None:
    import redis

    url = env.embedded_urls(data)["REDIS_URL"]
    with suppress(redis.RedisError):
        redis.Redis.from_url(url, socket_timeout=5).flushall()


def write_trace(path: Path, random: Random, rows: int) -> list[int]:
    """Write a trace and return what each call costs, in nano-units."""
    costs, begin = [], datetime(2023, 11, 16, 18, 15, 46)  # noqa: DTZ001  as traces are written
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("TIMESTAMP", "ContextTokens", "GeneratedTokens"))
        for number in range(rows):
            size, answer = random.randrange(1, 4000), random.randrange(1, 900)
            writer.writerow((f"{begin + timedelta(seconds=number)}.0000000", size, answer))
            costs.append(round((Fraction(PRICES[0]) * size + Fraction(PRICES[1]) * answer) * 1000))
    return costs


def kill_during(
    portal: Portal,
    process: subprocess.Popen[str],
    random: Random,
    turn: list[str],
    say: Callable[[str], None],
) -> int:
    """Kill at random until the process has ended; return how often."""
    hits = 0
    while True:
        try:
            process.wait(random.uniform(0.2, 1.5))
            return hits
        except subprocess.TimeoutExpired:
            if not turn:  # everybody has had a turn
                turn.extend(random.sample(VICTIMS, len(VICTIMS)))
            victim = turn.pop()
            say(f"  {victim}")
            portal.hit(victim)
            hits += 1


def replay(
    portal: Portal, path: Path, code: str, random: Random, turn: list[str], say: Callable[[str], None]
) -> Any:
    """Replay a trace while processes are killed; return what it says and how many were killed."""
    words = [
        "replay_trace",
        str(path),
        "--project",
        code,
        "--model",
        "chaos",
        "--run",
        code,
        "--clients",
        "24",
    ]
    # Slow enough for several to be killed meanwhile.
    words += ["--speed", str(SPEED)]
    process = portal.start(*words, "--json")
    try:
        # The run is registered first: a command that cannot reach its servers may end with status 1.
        wait_for(lambda: process.poll() is not None or _has_begun(portal, code), "the replay begins", 60)
        hits = kill_during(portal, process, random, turn, say)
        output, errors = process.communicate(timeout=10)
    finally:
        process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    if process.returncode:
        raise AssertionError(f"the replay ended with {process.returncode}: {output}{errors}")
    return json.loads(output), hits


def _has_begun(portal: Portal, run: str) -> bool:
    with psycopg.connect(env.embedded_urls(portal.data)["DATABASE_OWNER_URL"]) as connection:
        found = connection.execute("SELECT 1 FROM usage_key WHERE request_id LIKE %s LIMIT 1", [f"{run}-%"])
        return found.fetchone() is not None


def run_seed(seed: int, rows: int, say: Callable[[str], None]) -> None:
    """Run everything for one seed; raise AssertionError when the books do not agree."""
    random = Random(seed)
    with tempfile.TemporaryDirectory(prefix="portal-chaos-") as directory:
        portal = Portal(Path(directory) / "data")
        try:
            _run(portal, Path(directory) / "trace.csv", random, rows, say)
        except BaseException:
            for log in (portal.log, *sorted((portal.data / "log").glob("*.log"))):
                say(f"--- {log.name}\n{log.read_text(errors='replace')[-2500:]}")
            raise
        finally:
            portal.stop()


def _run(portal: Portal, trace: Path, random: Random, rows: int, say: Callable[[str], None]) -> None:
    costs, turn = write_trace(trace, random, rows), list[str]()
    portal.manage("set_price", "chaos", "--input", PRICES[0], "--output", PRICES[1], "--ceiling", "4000")
    limit = sum(costs) // 2
    portal.manage("create_project", "--code", "free", "--name", "Free")
    portal.manage(
        "create_project", "--code", "tight", "--name", "Tight", "--monthly-limit", decimal_string(limit)
    )

    free, hits = replay(portal, trace, "free", random, turn, say)
    say(f"  without a limit: {free}")
    assert free["admitted"] == free["calls"] == rows
    # What was acknowledged is there, and nothing twice: to the nano-unit.
    assert to_nano(free["spend"]) == sum(costs), (free["spend"], sum(costs))

    since = time.time()
    tight, more = replay(portal, trace, "tight", random, turn, say)
    say(f"  with a limit of {decimal_string(limit)}: {tight}")
    wait_for(portal.is_ready, "the portal is ready again")
    lost = portal.lost(since)
    assert tight["admitted"] + tight["refused"] == rows
    assert to_nano(tight["spend"]) <= limit + lost, (tight["spend"], limit, lost)
    assert hits + more >= len(VICTIMS), "not everybody had a turn"

    portal.manage("reconcile_spend", "--json")
    for code, answer in (("free", free), ("tight", tight)):
        spent = json.loads(portal.manage("spend", "--project", code, "--json"))
        assert (spent["calls"], spent["spend"]) == (answer["admitted"], answer["spend"])
    portal.manage("check_limits", "--json")
    say(f"  {hits + more} kills, at most {decimal_string(lost)} in lost reservations: the books agree")

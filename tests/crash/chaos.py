"""Kill, stop, cut, flush and restart at random under load; afterwards compare the histories with the books.

`make chaos SEEDS=N` does it for many seeds, the tests for a short one. A seed decides what is hit, in which order and
for how long, and what the gateways ask for.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import redis

from tests.crash import books
from tests.crash.estate import REVOKED, Estate, wait_for

Say = Callable[[str], None]

PROCESSES = [f"{kind} {number}" for kind in ("web", "worker", "beat") for number in range(2)]
GATEWAYS = [f"gateway {number}" for number in range(3)]
LINKS = ["postgres", "valkey", "gateways to web 0", "gateways to web 1"]
HITS = [
    *(("kill", name) for name in (*PROCESSES, *GATEWAYS, "postgres", "valkey")),
    *(("stop", name) for name in (*PROCESSES, "gateway 1", "valkey")),
    *(("cut", name) for name in LINKS),
    *(("restart", name) for name in ("web 0", "web 1", "worker 0")),
    ("flush", "valkey"),
    ("flush", "valkey"),
    ("flush functions", "valkey"),
]


def let_pass(seconds: float) -> None:
    """Let the load go on meanwhile."""
    threading.Event().wait(seconds)


def hit(estate: Estate, what: str, name: str, seconds: float) -> None:
    """Do one of the hits; when it returns, everything runs and every link is there again."""
    if what == "kill":
        estate.kill(name)
    elif what == "stop":
        estate.signal(name, signal.SIGSTOP)
        let_pass(seconds)
        estate.signal(name, signal.SIGCONT)
    elif what == "cut":
        estate.proxies.cut(name)
        let_pass(seconds)
        estate.proxies.mend(name)
    elif what == "restart":
        estate.restart(name)
    else:
        with suppress(redis.RedisError):
            if what == "flush functions":
                estate.redis.execute_command("FUNCTION", "FLUSH")
            else:
                estate.redis.flushall()


def revoke(estate: Estate) -> float:
    """Revoke a token while things fail; return the moment since which it must be refused."""
    token = estate.facts["credentials"][REVOKED]["id"]
    wait_for(lambda: _revoked(estate, token), "the token is revoked")
    return time.time()


def _revoked(estate: Estate, token: str) -> bool:
    try:
        estate.manage("revoke_token", token, direct=False)
    except AssertionError:
        return False
    return True


def run_seed(seed: int, hits: int, say: Say) -> None:
    """Run one seed; raise AssertionError when the books do not agree."""
    random = Random(seed)
    with tempfile.TemporaryDirectory(prefix="portal-chaos-") as directory:
        estate = Estate(Path(directory), seed)
        try:
            estate.begin()
            _run(estate, random, hits, say)
        except BaseException:
            for log in (*sorted(estate.logs.glob("*.log")), *sorted((estate.data / "log").glob("*.log"))):
                say(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}")
            raise
        finally:
            estate.close()


def _run(estate: Estate, random: Random, hits: int, say: Say) -> None:
    since = time.time()
    turn: list[tuple[str, str]] = []
    revoked_at = 0.0
    for number in range(hits):
        if not turn:  # everybody has had a turn
            turn = random.sample(HITS, len(HITS))
        what, name = turn.pop()
        pause, seconds = random.uniform(0.1, 1.2), random.uniform(0.5, 5)
        let_pass(pause)
        say(f"  {what} {name}")
        if number == hits // 2:
            hitting = (
                threading.Thread(target=hit, args=(estate, what, name, seconds)) if what == "cut" else None
            )
            if hitting:
                hitting.start()
            else:
                hit(estate, what, name, seconds)
            revoked_at = revoke(estate)
            say("  a token is revoked")
            if hitting:
                hitting.join()
        else:
            hit(estate, what, name, seconds)
        estate.keep()

    wait_for(lambda: books.acknowledged(estate) > books.ENOUGH, "calls go on after all this")
    estate.stop_file.touch()
    wait_for(lambda: not estate.are_running(GATEWAYS), "the gateways have sent everything")
    assert [estate.running[name].returncode for name in GATEWAYS] == [0] * len(GATEWAYS)
    estate.keep_portal()
    wait_for(estate.is_ready, "web is ready again")
    wait_for(lambda: books.is_drained(estate), "the inbox is empty")
    books.agree(estate)
    say(f"  {books.compare(estate, revoked_at, books.lost_since(estate, since))}: the books agree")


def main() -> None:
    """Run as many seeds as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--hits", type=int, default=14)
    chosen = parser.parse_args()
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        started = time.monotonic()
        _print(f"seed {seed}")
        run_seed(seed, chosen.hits, _print)
        _print(f"seed {seed}: {time.monotonic() - started:.0f} s")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()

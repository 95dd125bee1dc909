"""How many requests of the Gateway API a process works on at once: what can wait leaves room for what cannot.

While everything is fast, whoever comes waits for a thread. When work is held up – Postgres or Valkey is slow – threads
would run out. Reports of usage can be sent again and are kept on the gateway's disk, so together they then hold at most
half of the threads: decisions go on. And while several gateways ask, one of them never holds all threads. Whoever comes
beyond that is told at once to come again, each after another time, instead of waiting in a line that grows.
"""

import os
import random
import threading
import time
from itertools import count

THREADS = "PORTAL_WEB_THREADS"
HELD_UP = 1.0  # seconds in work
_OTHERS_WITHIN = 10.0  # seconds in which another gateway was heard


class Admission:
    """Knows what is in work; one for each process."""

    def __init__(self, threads: int) -> None:
        self.most_reports = max(1, threads // 2)
        self.most_of_one = max(1, threads * 3 // 4)
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._work: dict[int, tuple[str, bool, float]] = {}
        self._heard = [("", -_OTHERS_WITHIN), ("", -_OTHERS_WITHIN)]  # the two that were heard last

    def enter(self, gateway: str, is_report: bool) -> int | None:
        """Return the number under which the request is worked on, or None when there is no room for it."""
        now = time.monotonic()
        with self._lock:
            if self._heard[0][0] == gateway:
                self._heard[0] = (gateway, now)
            else:
                self._heard = [(gateway, now), self._heard[0]]
            if len(self._work) >= self.most_reports and self._is_full(gateway, is_report, now):
                return None
            number = next(self._numbers)
            self._work[number] = (gateway, is_report, now)
            return number

    def _is_full(self, gateway: str, is_report: bool, now: float) -> bool:
        if is_report:
            since = [start for _, is_one, start in self._work.values() if is_one]
            if len(since) >= self.most_reports and now - min(since) > HELD_UP:
                return True
        if now - self._heard[1][1] >= _OTHERS_WITHIN:
            return False
        since = [start for of, _, start in self._work.values() if of == gateway]
        return len(since) >= self.most_of_one and now - min(since) > HELD_UP

    def leave(self, number: int) -> None:
        """Note that the request is answered."""
        with self._lock:
            del self._work[number]


def retry_after() -> str:
    """Return after how many seconds to come again: not everybody at once."""
    return str(random.randint(1, 4))  # noqa: S311  no secret


here = Admission(int(os.environ.get(THREADS, "8")))

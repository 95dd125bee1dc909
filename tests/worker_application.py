"""`portal.celery` for tests that run workers and beats, with tasks that only they have.

The servers of the tests trade safety against power failures for speed.
"""

import os
import time

from portal import checks
from portal.celery import app
from portal.schedule.turns import Every

checks._DURABLE.clear()
# Every turn of this job, and nothing else: what the product schedules would be in the way.
if os.environ.get("PORTAL_TEST_INTERVAL"):
    interval = float(os.environ["PORTAL_TEST_INTERVAL"])
    turns = Every(interval)
    type(turns).has_slots = True  # type: ignore[method-assign, assignment]  # else only from a minute on
    app.conf.beat_schedule = {
        "take down": {"task": "tests.take_down", "schedule": turns, "options": {"expires": 60}},
        "sweep": {**app.conf.beat_schedule["sweep"], "schedule": Every(1)},
    }


@app.task(name="tests.take_down", bind=True)
def take_down(self, seconds: float = 0.0) -> None:  # type: ignore[no-untyped-def]
    """Write one line when it begins and one when it ends."""
    slot = self.request.get("portal_slot") or ""
    _write(f"begin {self.request.id} {slot} {os.getpid()}")
    time.sleep(seconds)
    _write(f"end {self.request.id} {slot} {os.getpid()}")


def _write(line: str) -> None:
    with open(os.environ["PORTAL_TEST_LINES"], "a", encoding="utf-8") as file:
        file.write(f"{line}\n")
        file.flush()

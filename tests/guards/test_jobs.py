"""Every job is registered, documented and woken often enough."""

import re
from pathlib import Path

import pytest

from portal.celery import app
from portal.schedule.turns import Daily, Every

OPERATIONS = Path(__file__).resolve().parents[2] / "docs/operations.md"
TABLE = OPERATIONS.read_text().partition("## Jobs")[2].partition("\n## ")[0]
DOCUMENTED = dict(re.findall(r"^\| ([a-z ]+) \| ([^|]+?) \|", TABLE, re.MULTILINE))
SCHEDULE = app.conf.beat_schedule


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """The worker's start: every module of tasks is imported."""
    app.loader.import_default_modules()


@pytest.mark.parametrize("name", SCHEDULE)
def test_a_scheduled_job_is_one_the_worker_knows(name: str) -> None:
    assert SCHEDULE[name]["task"] in app.tasks


@pytest.mark.parametrize("name", SCHEDULE)
def test_a_wake_up_that_nobody_takes_does_not_pile_up(name: str) -> None:
    assert SCHEDULE[name]["options"]["expires"] > 0


def test_every_job_is_documented_with_its_interval() -> None:
    assert {name: _words(entry["schedule"]) for name, entry in SCHEDULE.items()} == DOCUMENTED


def test_every_job_has_a_turn() -> None:
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours == {entry["task"] for entry in SCHEDULE.values()}


def _words(turns: Every) -> str:
    """An interval, or a time of day, as the table has it."""
    if isinstance(turns, Daily):
        return f"{turns.hour:02d}:{turns.minute:02d} UTC"
    for unit, seconds in (("h", 3600), ("min", 60)):
        if turns.seconds % seconds == 0 and (unit == "h" or turns.seconds > 60):
            return f"{turns.seconds // seconds:.0f} {unit}"
    return f"{turns.seconds:.0f} s"

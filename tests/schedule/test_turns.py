"""Turns follow from the clock, are taken once, and are found again when their wake-up is lost."""

from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from django.db import OperationalError
from django.utils import timezone

from portal.celery import app
from portal.schedule import slots, tasks
from portal.schedule.models import Slot
from portal.schedule.turns import Daily, Every

MOMENT = datetime(2026, 11, 24, 9, 30, 15, 250_000, UTC)


def test_turns_are_multiples_of_the_interval_or_a_time_of_day() -> None:
    assert Every(60).slot(MOMENT) == datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    assert Every(900).slot(MOMENT) == datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    assert Daily(3, 40).slot(MOMENT) == datetime(2026, 11, 24, 3, 40, tzinfo=UTC)
    assert Daily(9, 31).slot(MOMENT) == datetime(2026, 11, 23, 9, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("step", "drains", "has_turns"), [(-3600, True, False), (0, False, False), (61, True, True)]
)
def test_a_clock_that_steps_back_stops_no_drain_and_repeats_no_turn(
    step: int, drains: bool, has_turns: bool
) -> None:
    with mock.patch("portal.schedule.turns.datetime", wraps=datetime) as clock:
        clock.now.return_value = MOMENT + timedelta(seconds=step)
        assert Every(5).is_due(MOMENT).is_due is drains
        assert Every(60).is_due(MOMENT).is_due is has_turns


@pytest.mark.django_db
def test_a_turn_is_taken_once_and_again_only_by_its_own_message_or_after_its_lease() -> None:
    slot = timezone.now().replace(microsecond=0)
    taken = slots.take("job", slot, "a")
    assert taken
    assert slots.take("job", slot, "b") is None
    assert slots.take("job", slot, "a") == taken
    Slot.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert slots.take("job", slot, "b") == taken
    slots.finish(taken)
    assert slots.take("job", slot, "b") is None
    assert slots.take("job", slot - timedelta(days=4), "c") is None


@pytest.mark.django_db
def test_the_sweep_wakes_again_what_nobody_took_or_finished() -> None:
    woken: list[tuple[str, dict[str, str]]] = []
    with mock.patch.object(app, "send_task", lambda name, headers, **_: woken.append((name, headers))):
        tasks.sweep()
        names = {name for name, _ in woken}
        assert {"accounts.clear_sessions", "decision.check_limits", "spend.make_partitions"} <= names
        assert "decision.move_usage" not in names
        for _, headers in woken:
            slot = datetime.fromisoformat(headers["portal_slot"])
            assert slots.take(headers["portal_job"], slot, "a")
        woken.clear()
        tasks.sweep()
        assert woken == []


@pytest.mark.django_db
def test_a_job_that_cannot_reach_what_it_needs_gives_its_turn_back() -> None:
    app.loader.import_default_modules()
    task = app.tasks["accounts.clear_sessions"]
    slot = timezone.now().replace(microsecond=0)
    request = {"id": "a", **slots.headers("clear sessions", slot)}
    with mock.patch("portal.accounts.tasks.import_module", side_effect=OperationalError("away")):
        _run(task, request)
    assert Slot.objects.filter(finished=None, until__lt=timezone.now() + timedelta(seconds=30)).exists()

    Slot.objects.update(until=timezone.now())
    _run(task, {**request, "id": "b"})
    assert Slot.objects.get(attempts=2).finished


def _run(task: object, request: dict[str, object]) -> None:
    task.push_request(**request)  # type: ignore[attr-defined]
    try:
        task()  # type: ignore[operator]
    finally:
        task.pop_request()  # type: ignore[attr-defined]

"""The client's deadline and the server's budget: what is late is dropped before it starts, with 503 and never 500."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from portal.decision import epoch, fallback
from portal.decision.decide import Call
from portal.decision.models import Decider, FallbackReservation
from portal.lib.errors import Unavailable
from tests.gateway.conftest import Scene

LATE = (timedelta(milliseconds=1), timedelta(seconds=20))
IN_TIME = (-timedelta(seconds=5), timedelta(minutes=5), -timedelta(days=1))


def reserved(scene: Scene) -> str:
    """Return what is left of the project's day."""
    (limit,) = scene.client.ask("GET", "/gateway/v1/me", x_llm_credential=scene.secret).json["limits"]
    return str(limit["remaining"])


@pytest.mark.parametrize("ago", LATE)
def test_a_call_whose_deadline_has_passed_is_dropped_before_it_starts(scene: Scene, ago: timedelta) -> None:
    before = reserved(scene)
    late = (timezone.now() - ago).isoformat()
    answer = scene.client.post("authorize", scene.call(), x_llm_deadline=late)
    assert (answer.status, answer.code) == (503, "unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 4
    assert reserved(scene) == before
    assert scene.client.post("authorize", scene.call()).status == 200


@pytest.mark.parametrize("ago", IN_TIME)
def test_a_deadline_to_come_or_one_that_only_a_wrong_clock_sets_changes_nothing(
    scene: Scene, ago: timedelta
) -> None:
    deadline = (timezone.now() - ago).isoformat()
    assert scene.client.post("authorize", scene.call(), x_llm_deadline=deadline).status == 200


@pytest.mark.parametrize("text", ["", "soon", "2026-11-24", "2026-11-24T11:38:52", "9" * 400])
def test_a_deadline_that_cannot_be_read_says_nothing(scene: Scene, text: str) -> None:
    assert scene.client.post("authorize", scene.call(), x_llm_deadline=text).status == 200


def test_a_decision_of_postgres_waits_for_no_lock_and_no_statement_beyond_its_budget(scene: Scene) -> None:
    call = Call(scene.secret, "small", "request", input_tokens=1, max_output_tokens=1)
    held, done = threading.Event(), threading.Event()

    def change() -> None:
        with epoch.locked(exclusive=True):
            held.set()
            done.wait(60)
        connections.close_all()

    other = threading.Thread(target=change)
    other.start()
    try:
        assert held.wait(60)
        # By the lock's own limit: the other one gives it back only afterwards.
        with pytest.raises(Unavailable, match="too busy"):
            fallback.authorize(scene.client.secret, call)
    finally:
        done.set()
        other.join()
    Decider.objects.update(state=epoch.State.POSTGRES)
    with pytest.raises(Unavailable, match="too busy"), fallback.deciding(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    assert not FallbackReservation.objects.exists()

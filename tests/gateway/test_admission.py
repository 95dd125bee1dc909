"""What can wait leaves room for what cannot, and no gateway holds everything while others ask."""

import threading
from unittest import mock

import pytest

from portal.decision import usage
from portal.gateway import admission
from portal.gateway.admission import Admission
from tests.gateway.conftest import Scene


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in work is so for too long."""
    monkeypatch.setattr(admission, "HELD_UP", -1)


@pytest.mark.usefixtures("held_up")
def test_reports_that_are_held_up_hold_at_most_half_of_the_threads() -> None:
    here = Admission(8)
    numbers = [here.enter("a", True) for _ in range(5)]
    assert numbers == [1, 2, 3, 4, None]
    assert here.enter("a", False)
    here.leave(1)
    assert here.enter("b", True)


def test_while_everything_is_fast_nobody_is_sent_away() -> None:
    here = Admission(8)
    assert here.enter("b", False)
    assert all(here.enter("a", True) for _ in range(40))


@pytest.mark.usefixtures("held_up")
def test_one_gateway_holds_everything_only_while_it_is_alone() -> None:
    here = Admission(8)
    assert all(here.enter("a", False) for _ in range(8))
    here = Admission(8)
    assert here.enter("b", False)
    assert [bool(here.enter("a", False)) for _ in range(7)] == [True] * 6 + [False]
    assert here.enter("b", False)


def test_whoever_is_sent_away_comes_again_at_another_time() -> None:
    assert len({admission.retry_after() for _ in range(200)}) > 1


@pytest.mark.usefixtures("held_up")
def test_a_report_beyond_that_is_told_to_come_again_and_decisions_go_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "here", Admission(2))
    begun, ends = threading.Event(), threading.Event()

    def slow(*_: object) -> usage.Report:
        begun.set()
        assert ends.wait(20)
        return usage.Report(1, 0, [])

    with mock.patch.object(usage, "record", slow):
        first = threading.Thread(
            target=lambda: scene.client.post(
                "usage", {"events": [scene.event(credential_id=scene.key.key_id)]}
            )
        )
        first.start()
        assert begun.wait(20)
        answer = scene.client.post("usage", {"events": [scene.event()]})
        allowed = scene.client.post("authorize", scene.call())
        ends.set()
        first.join()

    assert (answer.status, answer.code) == (503, "unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 4
    assert allowed.status == 200

"""A request id that was booked stays taken, also when Valkey has long forgotten the call."""

import time
import uuid
from unittest import mock

import pytest

from portal.decision import jobs, recall, renewal, valkey
from portal.gateway import again
from portal.lib.uuid7 import uuid7
from tests.gateway.conftest import Scene


def forget() -> None:
    """Do what an hour does: tombstones leave Valkey."""
    keys = valkey.command("KEYS", "r:*")
    if keys:
        valkey.command("DEL", *keys)


def test_what_was_settled_before_valkey_lost_its_data_is_known_after_it(scene: Scene) -> None:
    request_id = str(uuid7())
    held = scene.client.post("authorize", scene.call(request_id)).json["reservation_id"]
    event = scene.event(request_id, reservation_id=held)
    assert scene.client.post("usage", {"events": [event]}).json["accepted"] == 1
    valkey.command("FLUSHALL")

    assert scene.client.post("authorize", scene.call(request_id)).code == "request_id_reused"
    # Another process hears of the rebuild from Postgres.
    for name in valkey.command("KEYS", "r:*"):
        valkey.command("DEL", name)
    recall.since, recall._noted = 0, (0, 0)
    renewal.Renewal().report()
    assert scene.client.post("authorize", scene.call(request_id)).code == "request_id_reused"
    # What is new is authorized, looked up as it is for some minutes.
    assert scene.client.post("authorize", scene.call(str(uuid7()))).status == 200


@pytest.mark.parametrize("request_id", ["request", str(uuid.UUID(int=uuid7().int - (7200_000 << 80)))])
def test_a_settled_id_that_comes_again_after_an_hour_is_refused_and_holds_nothing(
    scene: Scene, request_id: str
) -> None:
    answer = scene.client.post("authorize", scene.call(request_id)).json
    event = scene.event(request_id, reservation_id=answer["reservation_id"])
    assert scene.client.post("usage", {"events": [event]}).json["accepted"] == 1
    jobs.move_usage()
    forget()

    again_ = scene.client.post("authorize", scene.call(request_id))

    assert (again_.status, again_.code) == (409, "request_id_reused")
    assert scene.client.post("authorize", scene.call(request_id)).code == "request_id_reused"
    (limit,) = scene.client.ask("GET", "/gateway/v1/me", x_llm_credential=scene.secret).json["limits"]
    assert limit["used"] == "0.00002"
    # Another gateway's ids are its own.
    assert scene.other.post("authorize", scene.call(request_id)).status == 200


def test_an_estimated_id_is_taken_too(scene: Scene) -> None:
    scene.client.post("authorize", scene.call())
    jobs.expire_reservations(now_ms=int(time.time() * 1000) + 16 * 60_000)
    forget()
    assert scene.client.post("authorize", scene.call()).code == "request_id_reused"


def test_a_uuid7_made_just_now_asks_nothing_of_postgres(scene: Scene) -> None:
    with mock.patch("portal.spend.inbox.is_taken") as asked:
        assert scene.client.post("authorize", scene.call(str(uuid7()))).status == 200
    asked.assert_not_called()


def test_only_a_uuid7_of_late_is_new_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "since", 0)
    assert again.is_new(str(uuid7()))
    assert not again.is_new(str(uuid.uuid4()))
    assert not again.is_new("run-17")
    assert not again.is_new(str(uuid.UUID(int=uuid7().int + (600_000 << 80))))
    assert not again.is_new(str(uuid.UUID(int=uuid7().int - (3600_000 << 80))))
    monkeypatch.setattr(recall, "since", int(time.time() * 1000))
    assert not again.is_new(str(uuid7()))
    monkeypatch.setattr(recall, "since", int(time.time() * 1000) - 301_000)
    assert again.is_new(str(uuid7()))

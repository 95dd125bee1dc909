"""A gateway's clock: what lies in the future or before its own admission is noticed, what only comes late is not."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import timezone

from audit.models import AuditEntry
from portal.gateway.models import Gateway
from portal.notifications.models import Delivery, Message
from portal.spend import inbox
from tests import factories
from tests.gateway.conftest import Scene

Browse = Callable[[Any], Browser]


def report(scene: Scene, request_id: str, occurred: datetime, **more: object) -> Any:
    """Report a call of that moment and return the answer."""
    event = scene.event(request_id, occurred_at=occurred.isoformat(), credential_id=scene.key.key_id, **more)
    answer = scene.client.post("usage", {"events": [event]})
    assert answer.status == 200
    return answer.json


def admitted(scene: Scene, request_id: str) -> dict[str, object]:
    """Return what names the reservation of an admitted call."""
    return {"reservation_id": scene.client.post("authorize", scene.call(request_id)).json["reservation_id"]}


def clock(scene: Scene) -> str:
    return Gateway.objects.get(key_id=scene.gateway).clock


@pytest.mark.parametrize("seconds", [40, 200, 400])
def test_a_call_of_the_future_tells_of_a_clock_that_is_ahead(scene: Scene, seconds: int) -> None:
    answer = report(scene, "a", timezone.now() + timedelta(seconds=seconds))
    assert [each["code"] for each in answer["rejected"]] == ([] if seconds < 300 else ["in_future"])
    assert clock(scene).endswith("ahead")


def test_a_call_that_ended_before_it_was_admitted_tells_of_a_clock_that_is_behind(scene: Scene) -> None:
    held = admitted(scene, "a")
    assert report(scene, "a", timezone.now() - timedelta(seconds=100), **held)["accepted"] == 1
    assert clock(scene) in {"Clock 99 s behind", "Clock 100 s behind"}


def test_old_usage_is_no_wrong_clock(scene: Scene) -> None:
    held = admitted(scene, "a")
    for request_id, ago, more in (("a", 0, held), ("b", 20, {}), ("c", 86400 * 34, {}), ("d", -20, {})):
        assert report(scene, request_id, timezone.now() - timedelta(seconds=ago), **more)["accepted"] == 1
    assert clock(scene) == ""
    assert not Message.objects.filter(once__startswith="clock:").exists()


def test_it_is_told_once_a_day_and_shown(scene: Scene, browse: Browse) -> None:
    alice = factories.person("Alice Admin", role="admin")
    oscar = factories.person("Oscar Operator", role="operator")
    factories.person("Bob Owner")
    for request_id in ("a", "b"):
        report(scene, request_id, timezone.now() + timedelta(seconds=61))
        Gateway.objects.update(skewed=timezone.now() - timedelta(minutes=2))
    message = Message.objects.get(once__startswith=f"clock:{scene.gateway}")
    assert message.title in {f"Clock {seconds} s ahead at gateway gateway" for seconds in (59, 60, 61)}
    assert set(Delivery.objects.values_list("person", flat=True)) == {alice.pk, oscar.pk}
    assert AuditEntry.objects.filter(action="gateway.skewed").count() == 1
    assert "s ahead" in browse(oscar).get(message.link).content.decode()
    Gateway.objects.update(skewed=timezone.now() - timedelta(hours=25))
    assert "s ahead" not in browse(oscar).get(message.link).content.decode()


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_a_date_beyond_any_clock_is_noticed_like_any_other(scene: Scene, year: str) -> None:
    event = scene.event("a", occurred_at=f"{year}-12-30T00:00:00Z", **admitted(scene, "a"))
    assert scene.client.post("usage", {"events": [event]}).status == 200
    assert clock(scene)
    assert len(inbox.waiting(10)) == (1 if year == "0001" else 0)

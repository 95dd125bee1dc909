"""What the daily job does for API keys and user tokens: reminders, flags, suspensions, each once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apikeys import watch as key_watch
from apikeys.models import ApiKey
from apikeys.services import issue_api_key, resume_api_key
from portal.decision.models import Subject
from portal.notifications.models import Delivery, Message
from tests import factories
from tests.factories import Cast
from tokens import watch as token_watch
from tokens.models import UserToken
from tokens.services import issue_token

DAY = timedelta(days=1)


def key_in(cast: Cast, **fields: Any) -> ApiKey:
    """Return a new key of Claims triage, whose owner is Carol and whose deputy is Bob."""
    return issue_api_key(
        project=cast.triage, name="intake-batch", owner=cast.carol, actor=factories.ACTOR, **fields
    )[0]


def token_of(cast: Cast, **fields: Any) -> UserToken:
    """Return a new token of Carol in Claims triage."""
    return issue_token(project=cast.triage, person=cast.carol, actor=factories.ACTOR, **fields)[0]


def told(message: Message) -> set[str]:
    """Return the names of the people who are told."""
    found = Delivery.objects.filter(message=message, person__isnull=False)
    return set(found.values_list("person__name", flat=True))


def test_owner_deputy_and_project_owners_hear_of_the_expiry_30_7_and_1_days_before(cast: Cast) -> None:
    key, now = key_in(cast, days=90), timezone.now()
    heard = {
        day: key_watch.remind_of_expiry(now + day * DAY) + key_watch.remind_of_expiry(now + day * DAY)
        for day in range(1, 90)
    }
    assert [day for day, number in heard.items() if number] == [60, 83, 89]
    message = Message.objects.order_by("pk").first()
    assert message
    assert told(message) == {"Carol Member", "Bob Owner"}
    assert message.link == f"/keys/{key.key_id}/"


def test_after_a_silence_only_the_latest_reminder_is_sent(cast: Cast) -> None:
    key_in(cast, days=90)
    assert key_watch.remind_of_expiry(timezone.now() + 85 * DAY) == 1
    assert key_watch.remind_of_expiry(timezone.now() + 86 * DAY) == 0


def test_a_holder_hears_of_the_expiry_of_a_token(cast: Cast) -> None:
    token_of(cast, days=90)
    assert token_watch.remind_of_expiry(timezone.now() + 84 * DAY) == 1
    assert told(Message.objects.get()) == {"Carol Member"}


@pytest.mark.parametrize("kind", ["key", "token"])
def test_what_nobody_uses_is_flagged_at_90_days_and_suspended_at_180(kind: str, cast: Cast) -> None:
    held: Any = key_in(cast, days=365) if kind == "key" else token_of(cast, days=365)
    watch: Callable[..., None] = key_watch.watch if kind == "key" else token_watch.watch
    now = timezone.now()
    for day in (80, 91, 92):
        watch(now + day * DAY)
    assert Message.objects.count() == 1
    held.refresh_from_db()
    assert held.status == "active"
    for day in (181, 182):
        watch(now + day * DAY)
    held.refresh_from_db()
    assert (held.status, held.cause) == ("suspended", "unused")
    assert Subject.objects.get(pk=f"s:{held.key_id}").data["state"] == "suspended"
    assert Message.objects.filter(title__contains="suspended").count() == 1


def test_what_is_used_or_was_resumed_is_left_alone(cast: Cast) -> None:
    key = key_in(cast, days=365)
    ApiKey.objects.update(created=timezone.now() - 200 * DAY, last_used=timezone.now() - 10 * DAY)
    assert key_watch.suspend_unused() == 0
    ApiKey.objects.update(last_used=timezone.now() - 190 * DAY)
    assert key_watch.suspend_unused() == 1
    resume_api_key(key=key, actor=factories.ACTOR)
    assert key_watch.suspend_unused() == 0
    assert key_watch.flag_unused() == 0

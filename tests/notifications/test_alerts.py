"""Alerts of the minute's check: once a window, to those whose business it is, with a link that explains."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from standardwebhooks.webhooks import Webhook as Verifier

from audit.models import AuditEntry
from portal.decision import check, foresight, jobs, valkey
from portal.decision.services import set_limit, update_organization
from portal.lib.uuid7 import uuid7
from portal.notifications import delivery
from portal.notifications.models import Delivery, Kind, Message
from portal.notifications.recipients import add_recipient
from portal.notifications.webhooks import add_webhook
from portal.spend import scopes
from portal.spend.models import LimitAlert, Refusal
from tests import factories
from tests.factories import ACTOR, Cast, usage
from tests.notifications.receiver import Receiver


@pytest.fixture
def cast(clean_state: None) -> Cast:
    """The cast, with transactions that commit; Frank administers the group Claims."""
    factories.priced()
    cast = factories.cast()
    factories.person("Frank Group", role="group_admin", group=cast.claims)
    return cast


def limit(scope_key: str, amount: str, window: str = "month", **fields: Any) -> None:
    """Set a spend limit."""
    values = {"metric": "spend", "label": "Project Claims triage", **fields}
    set_limit(scope_key=scope_key, window=window, amount=amount, actor=ACTOR, **values)


def checked() -> list[tuple[str, str]]:
    """Check once; return kind and title of every message there is, the oldest first."""
    jobs.move_usage()
    check.check_limits(ACTOR)
    return list(Message.objects.order_by("created", "pk").values_list("kind", "title"))


def told(message: Message) -> set[str]:
    """Return the first names of those who are told."""
    names = message.deliveries.exclude(person=None).values_list("person__name", flat=True)
    return {name.split()[0] for name in names}


def test_a_threshold_is_told_once_by_one_mail_each_and_one_signed_webhook(
    cast: Cast, receiver: Receiver
) -> None:
    _, secret = add_webhook(name="Duty", format="standard", address=receiver.address, kinds=[], actor=ACTOR)
    limit(scopes.project(cast.triage.pk), "100")
    usage(cast.triage, "85")
    for _ in range(3):
        assert checked() == [("threshold", "Project Claims triage: 80% of the monthly spend limit used")]
        delivery.send_mail()
        delivery.send_webhooks()
    assert sorted(sent.to[0].split("@")[0] for sent in mail.outbox) == ["alice", "bob", "frank"]
    assert "$85.00 of $100.00 used" in mail.outbox[0].body
    [post] = receiver.posts
    assert Verifier(secret).verify(post.body, post.headers)["type"] == "alert.threshold"


def test_the_next_threshold_is_a_message_of_its_own_and_the_last_is_audited(cast: Cast) -> None:
    limit(scopes.project(cast.triage.pk), "100")
    for spend in ("55", "42", "5"):
        usage(cast.triage, spend)
        found = checked()
    assert [title.partition(": ")[2] for _, title in found] == [
        "50% of the monthly spend limit used",
        "95% of the monthly spend limit used",
        "monthly spend limit reached",
    ]
    assert list(Message.objects.order_by("pk").values_list("severity", flat=True)) == ["info", "warn", "bad"]
    assert AuditEntry.objects.filter(action="limit.reached").count() == 1


def test_a_new_window_is_told_anew(cast: Cast) -> None:
    limit(scopes.project(cast.triage.pk), "100", "day")
    usage(cast.triage, "60")
    checked()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    LimitAlert.objects.update(window_start=yesterday)
    for message in Message.objects.all():
        Message.objects.filter(pk=message.pk).update(once=f"{message.once} of yesterday")
    assert len(checked()) == 2
    assert len(checked()) == 2


def test_settings_say_at_what_and_who(cast: Cast) -> None:
    carol = cast.carol
    add_recipient(carol, actor=ACTOR)
    update_organization(
        alert_thresholds="70", alert_admins=False, alert_group_admins=False, actor=ACTOR, reason=""
    )
    limit(scopes.project(cast.triage.pk), "100")
    usage(cast.triage, "60")
    assert checked() == []
    usage(cast.triage, "15")
    checked()
    assert told(Message.objects.get()) == {"Bob", "Carol"}


def test_limits_of_every_shape_are_looked_at(cast: Cast) -> None:
    carol, triage = cast.carol, cast.triage
    usage(triage, "9", person=carol, model="gpt-5-mini")
    usage(triage, "9", person=cast.bob, model="other")
    limit(scopes.ORGANIZATION, "20", "week", label="Northgate")
    limit(scopes.group(cast.claims.pk), "30", "day", label="Group Claims")
    limit(scopes.project_each_user(triage.pk), "10", label="Each user")
    limit(scopes.project_user(triage.pk, cast.bob.pk), "100", label="Bob")
    limit(scopes.EACH_USER, "3", metric="requests", label="Each user")
    limit(scopes.project(triage.pk), "17", "day", model="gpt-5*")
    limit(scopes.project(triage.pk), "1200", "day", metric="tokens", model="other")
    limit(scopes.project(triage.pk), "0", "week", metric="requests")
    limit(scopes.project(triage.pk), "10", "day", mode="observe")
    assert sorted(title for _, title in checked()) == [
        "Carol Member in Each user: 80% of the monthly spend limit used",
        "Group Claims: 50% of the daily spend limit used",
        "Northgate: 80% of the weekly spend limit used",
        "Project Claims triage: 50% of the daily spend limit for gpt-5* used",
        "Project Claims triage: 80% of the daily limit on model tokens for other used",
    ]
    assert told(Message.objects.get(title__startswith="Northgate")) == {"Alice"}
    assert told(Message.objects.get(title__startswith="Group")) == {"Alice", "Frank"}


def test_a_month_that_will_not_last_is_told_once(cast: Cast) -> None:
    now = datetime.now(UTC)
    for back in range(28):
        usage(cast.triage, "10", moment=now - timedelta(days=back), is_moved=True)
    used = 10 * min(now.day, 28)
    limit(scopes.project(cast.triage.pk), str(used + 1))
    limit(scopes.project(cast.fraud.pk), "1", label="Project Fraud notes")
    expected = 1 if (now + timedelta(days=1)).month == now.month else 0
    assert [foresight.foresee_limits(), foresight.foresee_limits()] == [expected, 0]
    for message in Message.objects.all():
        assert "is expected to run out on" in message.title
        assert told(message) == {"Alice", "Bob", "Frank"}


def test_first_refusals_of_a_limit_are_told_once_with_the_refusal_that_explains(cast: Cast) -> None:
    key = f"p:{cast.triage.pk}"
    row = {
        "scope": key, "metric": "spend", "window": "day", "model": "", "label": "Project Claims triage",
        "limit": 1, "settled": 1, "reserved": 0, "requested": 1, "resets": 0, "has_room": False,
        "is_enforced": True, "set_on": key,
    }  # fmt: skip
    ids = [uuid7(), uuid7()]
    for number, pk in enumerate(ids):
        Refusal.objects.create(
            decision_id=pk,
            occurred=datetime.now(UTC) + timedelta(milliseconds=number),
            code="limit_exhausted",
            gateway="gateway00000",
            request_id=str(number),
            credential="credential00",
            project=cast.triage.pk,
            group=cast.claims.pk,
            model="gpt-5-mini",
            binding=f"{key}|spend|day|",
            checks=[row],
        )
    limit(key, "100")
    for _ in range(2):
        assert [kind for kind, _ in checked()] == ["refused"]
    message = Message.objects.get()
    assert message.title == "Project Claims triage: requests are refused by the daily spend limit"
    assert message.link == f"/refusals/{ids[0]}/"
    assert told(message) == {"Alice", "Bob", "Frank"}


def test_repaired_counters_are_told_to_administrators_once_a_day(cast: Cast) -> None:
    key = f"k:p:{cast.triage.pk}|spend|month|"
    limit(scopes.project(cast.triage.pk), "100")
    usage(cast.triage, "10")
    jobs.move_usage()
    for _ in range(2):
        assert valkey.command("DEL", key) == 1
        assert checked() == [("drift", "1 counter differed from the record")]
    assert told(Message.objects.get()) == {"Alice"}


def test_a_thousand_limits_take_no_more_queries_than_one(cast: Cast) -> None:
    def queries() -> int:
        Message.objects.all().delete()
        LimitAlert.objects.all().delete()
        with CaptureQueriesContext(
            connection,
        ) as captured:
            check.check_limits(ACTOR)
        return len(captured)

    limit(scopes.project(cast.triage.pk), "100")
    usage(cast.triage, "60")
    jobs.move_usage()
    one = queries()
    for number in range(40):
        limit(scopes.credential(f"credential{number:02}"), "1", label=f"Key {number}")
        usage(cast.triage, "0.9", credential=f"credential{number:02}")
    jobs.move_usage()
    many = queries()
    assert Message.objects.filter(kind=Kind.THRESHOLD).count() == 41
    assert many <= one + 4
    assert Delivery.objects.filter(channel="email").count() > 41

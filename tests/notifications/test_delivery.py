"""A message reaches people by mail and webhooks signed, once; what fails is tried again over a day."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from portal.accounts.models import Person
from portal.lib.errors import ChangedMeanwhile, RuleBroken
from portal.notifications import delivery, webhooks
from portal.notifications.models import Delivery, Kind, Message, Webhook
from portal.notifications.services import Draft, notify, notify_all
from portal.web.sealing import WEBHOOKS, seal
from tests.factories import ACTOR, person
from tests.notifications.conftest import make_due
from tests.notifications.receiver import Receiver


@pytest.fixture(autouse=True)
def state(clean_state: None) -> None:
    """Services of webhooks are entry points: their transactions commit."""


def told(*people: Person, once: str = "a", kind: Kind = Kind.THRESHOLD) -> None:
    """Tell people something."""
    notify(
        kind,
        title="Claims triage: 80% of the daily spend limit used",
        text="$80.00 of $100.00. <!channel> & [a](b)",
        link="/alerts/",
        people=people,
        once=once,
    )


def add(receiver: Receiver, kind: str = "standard", **fields: Any) -> tuple[Webhook, str]:
    """Add a webhook that leads to the receiver."""
    values = {"name": f"Duty {kind}", "kinds": [], **fields}
    return webhooks.add_webhook(format=kind, address=f"{receiver.address}/in?key=K9", actor=ACTOR, **values)


def test_one_message_is_one_mail_and_one_signed_webhook_however_often_it_is_told(receiver: Receiver) -> None:
    bob, nobody = person("Bob Owner"), person("No Address", email="")
    _, secret = add(receiver)
    for _ in range(3):
        told(bob, bob, nobody)
        delivery.send_mail()
        delivery.send_webhooks()
    [sent] = mail.outbox
    assert sent.to == ["bob@northgate.example"]
    assert "http://127.0.0.1:8000/alerts/" in sent.body
    [post] = receiver.posts
    assert post.path == "/in?key=K9"
    assert Verifier(secret).verify(post.body, post.headers)["data"]["severity"] == "info"
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(post.body + b" ", post.headers)
    states = dict(Delivery.objects.values_list("channel", "state"))
    assert states == {"email": "delivered", "webhook": "delivered", "portal": "delivered"}


def test_what_is_rolled_back_was_never_said() -> None:
    bob = person("Bob Owner")
    with transaction.atomic():
        told(bob)
        transaction.set_rollback(True)
    told(bob)
    assert Message.objects.count() == 1


def test_a_receiver_that_fails_is_tried_again_and_gets_the_same_message(receiver: Receiver) -> None:
    add(receiver)
    told()
    receiver.answers = [503, 302]
    for _ in range(5):
        delivery.send_webhooks()
        make_due()
    assert [post.path for post in receiver.posts] == ["/in?key=K9"] * 3  # and no redirect was followed
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
    [row] = Delivery.objects.all()
    assert (row.state, row.attempts, row.error) == ("delivered", 3, "")


def test_after_a_day_of_failures_it_has_failed_until_somebody_tries_again(receiver: Receiver) -> None:
    add(receiver)
    told()
    receiver.answers = [500] * 10
    for _ in range(10):
        delivery.send_webhooks()
        make_due()
    [row] = Delivery.objects.all()
    assert (row.state, row.error) == ("failed", "The receiver answered 500.")
    assert (
        timedelta(hours=18) < sum(map(delivery.retry_after, range(1, 10)), timedelta()) < timedelta(hours=36)
    )
    webhooks.retry(row, actor=ACTOR)
    assert delivery.send_webhooks() == 1
    with pytest.raises(RuleBroken, match="delivered"):
        webhooks.retry(row, actor=ACTOR)


def test_a_receiver_that_is_gone_is_not_tried_again(receiver: Receiver) -> None:
    add(receiver)
    told()
    receiver.answers = [410]
    delivery.send_webhooks()
    assert Delivery.objects.get().state == "failed"


def test_one_failing_receiver_does_not_hold_up_the_others(receiver: Receiver) -> None:
    add(receiver, name="Away")
    Webhook.objects.update(address=seal("http://127.0.0.1:9/", WEBHOOKS))
    add(receiver, name="There")
    for number in range(3):
        told(once=str(number))
    assert delivery.send_webhooks() == 3
    away = Delivery.objects.filter(webhook__name="Away")
    assert sorted(away.values_list("attempts", flat=True)) == [0, 0, 1]


def test_mail_that_the_server_does_not_take_is_tried_again(settings: Any) -> None:
    told(person("Bob Owner"))
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    assert delivery.send_mail() == 0
    assert Delivery.objects.get().error.startswith("The mail server did not take it")
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    make_due()
    assert delivery.send_mail() == 1


def test_slack_gets_blocks_that_mention_nobody(receiver: Receiver) -> None:
    _, secret = add(receiver, "slack")
    told()
    delivery.send_webhooks()
    [post] = receiver.posts
    assert secret == ""
    assert "webhook-signature" not in post.headers
    header, section, actions = post.json["blocks"]
    assert header["text"]["text"] == post.json["text"]
    assert section["text"] == {"type": "plain_text", "text": "$80.00 of $100.00. <!channel> & [a](b)"}
    assert actions["elements"][0]["url"] == "http://127.0.0.1:8000/alerts/"


def test_teams_gets_an_adaptive_card(receiver: Receiver) -> None:
    add(receiver, "teams")
    told()
    delivery.send_webhooks()
    [attachment] = receiver.posts[0].json["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["$schema"]) == (
        "AdaptiveCard",
        "http://adaptivecards.io/schemas/adaptive-card.json",
    )
    assert [part["type"] for part in card["body"]] == ["TextBlock", "TextBlock", "ActionSet"]
    assert card["body"][1]["text"] == r"$80.00 of $100.00. &lt;!channel&gt; & \[a\](b)"


def test_a_webhook_is_told_only_what_it_asked_for(receiver: Receiver) -> None:
    add(receiver, kinds=[Kind.EXPIRY])
    told(once="a")
    told(once="b", kind=Kind.EXPIRY)
    delivery.send_webhooks()
    assert [post.json["type"] for post in receiver.posts] == ["alert.expiry"]


def test_what_is_personal_goes_to_the_person_alone(receiver: Receiver) -> None:
    add(receiver)
    bob = person("Bob Owner")
    notify_all([Draft(Kind.EXPIRY, "Your token", "…", "", "personal", [bob.pk], is_personal=True)])
    assert (delivery.send_mail(), delivery.send_webhooks()) == (1, 0)


def test_while_a_secret_is_replaced_both_sign(receiver: Receiver) -> None:
    webhook, old = add(receiver)
    new = webhooks.rotate_secret(webhook, actor=ACTOR)
    told()
    delivery.send_webhooks()
    [post] = receiver.posts
    for secret in (old, new):
        Verifier(secret).verify(post.body, post.headers)
    Webhook.objects.update(previous_until="2020-01-01T00:00Z")
    told(once="later")
    delivery.send_webhooks()
    with pytest.raises(WebhookVerificationError):
        Verifier(old).verify(receiver.posts[1].body, receiver.posts[1].headers)


def test_a_removed_webhook_gets_nothing_and_nothing_of_it_is_kept(receiver: Receiver) -> None:
    webhook, _ = add(receiver)
    told()
    webhooks.remove_webhook(webhook, actor=ACTOR)
    delivery.send_webhooks()
    told(once="later")
    assert receiver.posts == []
    assert [row.state for row in Delivery.objects.all()] == ["failed"]
    webhook.refresh_from_db()
    assert not bytes(webhook.address) + bytes(webhook.secret)


def test_a_test_says_at_once_how_it_went(receiver: Receiver) -> None:
    webhook, _ = add(receiver, kinds=[Kind.EXPIRY])
    receiver.answers = [400]
    assert webhooks.send_test(webhook, actor=ACTOR).error == "The receiver answered 400."
    assert webhooks.send_test(webhook, actor=ACTOR).state == "delivered"


def test_secrets_are_sealed_and_another_secret_key_cannot_open_them(
    receiver: Receiver, settings: Any
) -> None:
    webhook, secret = add(receiver)
    webhook.refresh_from_db()
    stored = bytes(webhook.secret) + bytes(webhook.address)
    assert secret.encode() not in stored
    assert b"key=K9" not in stored
    assert "K9" not in webhook.shown
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another", [settings.SECRET_KEY]
    assert webhooks.send_test(webhook, actor=ACTOR).state == "delivered"
    settings.SECRET_KEY_FALLBACKS = []
    assert "PORTAL_SECRET_KEY" in webhooks.send_test(webhook, actor=ACTOR).error


def test_the_later_of_two_changes_is_refused(receiver: Receiver) -> None:
    webhook, _ = add(receiver)
    seen = {"name": webhook.name, "kinds": []}
    webhooks.change_webhook(webhook, name="Duty desk", kinds=[], actor=ACTOR, seen=seen)
    with pytest.raises(ChangedMeanwhile):
        webhooks.change_webhook(webhook, name="Night desk", kinds=[], actor=ACTOR, seen=seen)

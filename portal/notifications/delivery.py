"""The jobs that deliver: each claims one delivery at a time, sends it, and writes how it went.

A claim counts the attempt and moves the next one ahead before anything is sent, so any number of workers may run,
and one that is killed leaves a delivery that is tried again. A receiver can therefore get a message twice; both
carry the same `webhook-id` or `Message-ID`.
"""

import logging
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from standardwebhooks.webhooks import Webhook as Signer

from portal.notifications import outbound
from portal.notifications.bodies import body_for, mail, sender_host
from portal.notifications.models import Delivery, Kind, Webhook
from portal.web.sealing import WEBHOOKS, Unreadable, unseal

log = logging.getLogger(__name__)

# Minutes from one attempt to the next: ten attempts over a little more than a day.
RETRIES = (0.5, 2, 10, 30, 60, 120, 240, 480, 600)
LEASE = timedelta(minutes=5)  # longer than one attempt can take
RUN_SECONDS = 40


def send_mail() -> int:
    """Send the e-mails that are due; return how many were delivered."""
    sent, until = 0, time.monotonic() + RUN_SECONDS
    connection: BaseEmailBackend | None = None
    try:
        while time.monotonic() < until and (delivery := _claim(Delivery.Channel.EMAIL)):
            try:
                connection = connection or get_connection()
                _mail(delivery, connection)
            except (OSError, ValueError) as error:  # SMTPException is an OSError
                _not_delivered(delivery, _smtp_words(error))
                _close(connection)
                connection = None
            else:
                sent += 1
                _delivered(delivery)
    finally:
        _close(connection)
    return sent


def send_webhooks() -> int:
    """Post the messages that are due; return how many were delivered."""
    sent, until = 0, time.monotonic() + RUN_SECONDS
    resting: set[int] = set()  # a receiver that failed holds nobody up until the next run
    while time.monotonic() < until and (delivery := _claim(Delivery.Channel.WEBHOOK, resting)):
        error = _post(delivery)
        if error is None:
            sent += 1
            _delivered(delivery)
        else:
            resting.add(delivery.webhook_id or 0)
            _not_delivered(delivery, str(error), is_final=_is_final(error))
    return sent


def send_once(delivery: Delivery) -> None:
    """Send one delivery to a webhook now, without another attempt when it fails."""
    error = _post(delivery)
    if error is None:
        _delivered(delivery)
    else:
        _not_delivered(delivery, str(error), is_final=True)


def _post(delivery: Delivery) -> Exception | None:
    """Post to the webhook; return what went wrong, or None."""
    webhook = delivery.webhook
    if webhook is None or webhook.removed:
        return outbound.Refused("The webhook was removed.")
    try:
        _post_to(webhook, delivery)
    except (outbound.Refused, outbound.NotDelivered, Unreadable) as error:
        return error
    return None


def _is_final(error: Exception) -> bool:
    return error.is_final if isinstance(error, outbound.NotDelivered) else True


def _post_to(webhook: Webhook, delivery: Delivery) -> None:
    """Send one message to the webhook, signed when it has a secret; raise what `outbound.post` raises.

    Headers and signature are those of Standard Webhooks; while a secret is being replaced, both sign.
    """
    body = body_for(webhook, delivery.message)
    now = datetime.now(UTC)
    reference = f"msg_{delivery.message_id.hex}"
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "LLM-Gateway-portal",
        "webhook-id": reference,
        "webhook-timestamp": str(int(now.timestamp())),
    }
    if webhook.secret:
        signatures = [Signer(secret).sign(reference, now, body.decode()) for secret in _secrets(webhook, now)]
        headers["webhook-signature"] = " ".join(signatures)
    outbound.post(unseal(webhook.address, WEBHOOKS), body, headers)


def _secrets(webhook: Webhook, now: datetime) -> list[str]:
    found = [unseal(webhook.secret, WEBHOOKS)]
    if webhook.previous_secret and webhook.previous_until and webhook.previous_until > now:
        found.append(unseal(webhook.previous_secret, WEBHOOKS))
    return found


def _claim(channel: str, resting: Iterable[int] = ()) -> Delivery | None:
    now = timezone.now()
    with transaction.atomic():
        delivery = (
            Delivery.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(channel=channel, state=Delivery.State.WAITING, next_attempt__lte=now)
            .exclude(webhook__in=list(resting))
            .select_related("message", "person", "webhook")
            .order_by("next_attempt", "pk")
            .first()
        )
        if delivery is not None:
            delivery.attempts += 1
            Delivery.objects.filter(pk=delivery.pk).update(
                attempts=F("attempts") + 1, next_attempt=now + LEASE
            )
    return delivery


def _mail(delivery: Delivery, connection: BaseEmailBackend) -> None:
    person, message = delivery.person, delivery.message
    if person is None or not person.is_active or not person.email:
        raise ValueError("The person has no e-mail address, or is not active any more.")
    title = " ".join(message.title.split())
    EmailMessage(
        subject=title if message.kind == Kind.TEST else f"[{sender_host()}] {title}",
        body=mail(message),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[person.email],
        headers={
            "Message-ID": f"<{message.pk}.{delivery.pk}@{sender_host()}>",
            "Auto-Submitted": "auto-generated",  # RFC 3834: nobody's absence notice answers it
        },
        connection=connection,
    ).send()


def _delivered(delivery: Delivery) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(
        state=Delivery.State.DELIVERED, delivered=timezone.now(), next_attempt=None, error=""
    )


def _not_delivered(delivery: Delivery, error: str, *, is_final: bool = False) -> None:
    """Write the error, and when it is tried again; after the last attempt, or a final no, it has failed."""
    is_over = is_final or delivery.attempts > len(RETRIES)
    log.warning("delivery %s, attempt %s: %s", delivery.pk, delivery.attempts, error)
    Delivery.objects.filter(pk=delivery.pk).update(
        state=Delivery.State.FAILED if is_over else Delivery.State.WAITING,
        next_attempt=None if is_over else timezone.now() + retry_after(delivery.attempts),
        error=error[:300],
    )


def retry_after(attempts: int) -> timedelta:
    """Return the wait after so many attempts, up to a fifth shorter or longer so that retries spread."""
    jitter = 800 + secrets.randbelow(401)
    return timedelta(minutes=RETRIES[attempts - 1]) * jitter / 1000


def _close(connection: BaseEmailBackend | None) -> None:
    if connection is not None:
        try:
            connection.close()
        except OSError as error:
            log.warning("the mail server did not say good-bye: %s", error)


def _smtp_words(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"The mail server did not take it: {error}"

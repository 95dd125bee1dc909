"""Webhooks: added, changed, tested, given another secret, removed."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit.actions import Action, Outcome
from audit.actors import Actor, Target
from audit.services import record
from portal.lib.errors import RuleBroken, refuse_if_changed
from portal.lib.names import checked_name
from portal.notifications import delivery, outbound
from portal.notifications.models import Delivery, Kind, Message, Webhook
from portal.web.sealing import WEBHOOKS, seal

OVERLAP = timedelta(hours=24)
"""How long the replaced secret signs beside the new one."""
_CHATS: Mapping[str, tuple[str, ...]] = {
    Webhook.Format.SLACK: ("hooks.slack.com", "hooks.slack-gov.com"),
    Webhook.Format.TEAMS: (
        ".logic.azure.com",
        ".powerplatform.com",
        ".powerautomate.com",
        ".webhook.office.com",
    ),
}


@transaction.atomic(durable=True)
def add_webhook(
    *,
    name: str,
    format: str,  # noqa: A002  the field's name
    address: str,
    kinds: Sequence[str],
    actor: Actor,
) -> tuple[Webhook, str]:
    """Add a webhook; return it and its signing secret, which nothing shows again (empty for chats)."""
    address = _checked_address(address, format)
    name = _free_name(name)
    secret = _new_secret() if format == Webhook.Format.STANDARD else ""
    webhook = Webhook.objects.create(
        name=name,
        format=Webhook.Format(format),
        address=seal(address, WEBHOOKS),
        shown=_shown(address, format),
        secret=seal(secret, WEBHOOKS) if secret else b"",
        kinds=_checked_kinds(kinds),
        created_by=actor.display,
    )
    record(
        Action.WEBHOOK_ADDED,
        actor=actor,
        target=_target(webhook),
        changes={"receiver": (None, webhook.shown), "kinds": (None, webhook.kinds)},
    )
    return webhook, secret


def editable(webhook: Webhook) -> dict[str, Any]:
    """Return the values that `change_webhook` changes."""
    return {"name": webhook.name, "kinds": list(webhook.kinds)}


@transaction.atomic(durable=True)
def change_webhook(
    webhook: Webhook, *, name: str, kinds: Sequence[str], actor: Actor, seen: Mapping[str, Any] | None = None
) -> Webhook:
    """Give it another name or other kinds. Raises ChangedMeanwhile when they are not what was `seen`."""
    webhook = _locked(webhook)
    before = editable(webhook)
    refuse_if_changed(seen, before)
    webhook.name, webhook.kinds = _free_name(name, besides=webhook), _checked_kinds(kinds)
    after = editable(webhook)
    changes = {field: (before[field], after[field]) for field in before if before[field] != after[field]}
    if changes:
        webhook.version += 1
        webhook.save(update_fields=["name", "kinds", "version"])
        record(Action.WEBHOOK_CHANGED, actor=actor, target=_target(webhook), changes=changes)
    return webhook


@transaction.atomic(durable=True)
def rotate_secret(webhook: Webhook, *, actor: Actor) -> str:
    """Return a new secret; for a day messages carry the signatures of both."""
    webhook = _locked(webhook)
    if webhook.format != Webhook.Format.STANDARD:
        raise RuleBroken("A chat has no signing secret. Make a new address there and add it here.")
    secret = _new_secret()
    webhook.previous_secret, webhook.secret = webhook.secret, seal(secret, WEBHOOKS)
    webhook.previous_until = timezone.now() + OVERLAP
    webhook.version += 1
    webhook.save(update_fields=["previous_secret", "secret", "previous_until", "version"])
    record(
        Action.WEBHOOK_ROTATED,
        actor=actor,
        target=_target(webhook),
        changes={"previous_secret_until": (None, webhook.previous_until)},
    )
    return secret


@transaction.atomic(durable=True)
def remove_webhook(webhook: Webhook, *, actor: Actor) -> None:
    """Remove it: what waits for it is not sent, address and secrets are forgotten, what was sent stays listed."""
    webhook = _locked(webhook)
    webhook.removed = timezone.now()
    webhook.address = webhook.secret = webhook.previous_secret = b""
    webhook.save(update_fields=["removed", "address", "secret", "previous_secret"])
    waiting = webhook.deliveries.filter(state=Delivery.State.WAITING).update(
        state=Delivery.State.FAILED, next_attempt=None, error="The webhook was removed."
    )
    record(
        Action.WEBHOOK_REMOVED,
        actor=actor,
        target=_target(webhook),
        changes={"receiver": (webhook.shown, None), "given_up": (None, waiting)},
    )


def send_test(webhook: Webhook, *, actor: Actor) -> Delivery:
    """Send a test message now and return how it went; it is listed among the deliveries and tried once."""
    now = timezone.now()
    with transaction.atomic(durable=True):
        webhook = _locked(webhook)
        message = Message.objects.create(
            kind=Kind.TEST,
            title=f"Test message to {webhook.name}",
            text=f"{actor.display} sent this to see whether alerts arrive here.",
            link="/settings/notifications/",
            once=f"test:{webhook.pk}:{now.timestamp()}",
        )
        sent = Delivery.objects.create(
            message=message,
            channel=Delivery.Channel.WEBHOOK,
            webhook=webhook,
            attempts=1,
            next_attempt=now + delivery.LEASE,
        )
    delivery.send_once(sent)
    sent.refresh_from_db()
    with transaction.atomic(durable=True):
        record(
            Action.WEBHOOK_TESTED,
            actor=actor,
            target=_target(webhook),
            outcome=Outcome.FAILED if sent.error else Outcome.SUCCESS,
            reason=sent.error,
        )
    return sent


@transaction.atomic(durable=True)
def retry(given: Delivery, *, actor: Actor) -> None:
    """Start a failed delivery anew: it is tried at once, and again over a day."""
    again = (
        Delivery.objects.select_for_update(of=("self",)).select_related("message", "webhook").get(pk=given.pk)
    )
    if again.state == Delivery.State.DELIVERED:
        raise RuleBroken("It has been delivered.")
    if again.webhook is not None and again.webhook.removed:
        raise RuleBroken("The webhook was removed, so there is nowhere to deliver it.")
    again.state, again.attempts, again.next_attempt = Delivery.State.WAITING, 0, timezone.now()
    again.save(update_fields=["state", "attempts", "next_attempt"])
    record(
        Action.DELIVERY_RETRIED,
        actor=actor,
        target=Target("delivery", str(again.pk), again.message.title),
        project=again.message.project_id,
        group=again.message.group_id,
    )


def _checked_address(address: str, kind: str) -> str:
    address = address.strip()
    if kind not in Webhook.Format.values:
        raise RuleBroken("Choose one from the list.", field="format")
    try:
        outbound.checked(address)
    except outbound.Refused as refused:
        raise RuleBroken(str(refused), field="address") from None
    if len(address) > 2000:
        raise RuleBroken("Use at most 2,000 characters.", field="address")
    hosts = _CHATS.get(kind, ())
    host = (urlsplit(address).hostname or "").rstrip(".")
    is_theirs = any(host == each or (each[0] == "." and host.endswith(each)) for each in hosts)
    if hosts and not is_theirs and not settings.WEBHOOK_PRIVATE:
        name = Webhook.Format(kind).label
        raise RuleBroken(f"This is no address of {name}. Copy the one that {name} shows.", field="address")
    return address


def _checked_kinds(kinds: Sequence[str]) -> list[str]:
    if set(kinds) - set(Kind.values):
        raise RuleBroken("Choose from the list.", field="kinds")
    return sorted(set(kinds))


def _free_name(name: str, besides: Webhook | None = None) -> str:
    name = checked_name(name)
    others = Webhook.objects.filter(name=name, removed=None).values_list("pk", flat=True)
    if any(besides is None or pk != besides.pk for pk in others):
        raise RuleBroken("Another webhook has this name.", field="name")
    return name


def _locked(webhook: Webhook) -> Webhook:
    found = Webhook.objects.select_for_update().filter(pk=webhook.pk, removed=None).first()
    if found is None:
        raise RuleBroken("The webhook was removed meanwhile.")
    return found


def _new_secret() -> str:
    """Return a secret in the notation of Standard Webhooks, with 256 bits."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def _shown(address: str, kind: str) -> str:
    parts = urlsplit(address)
    if kind == Webhook.Format.STANDARD:
        return f"{parts.scheme}://{parts.netloc}{parts.path}{'?…' if parts.query else ''}"[:200]
    return f"{parts.scheme}://{parts.netloc}/…{address[-4:]}"[:200]


def _target(webhook: Webhook) -> Target:
    return Target("webhook", str(webhook.pk), webhook.name)

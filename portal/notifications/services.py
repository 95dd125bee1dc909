"""Telling people: written in the caller's transaction, delivered by a job."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from portal.accounts.models import Person
from portal.notifications.models import Delivery, Kind, Message, Severity, Webhook

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Draft:
    """A message before it is written.

    `people` are ids of people; `once` is what makes it the same message; what `is_personal` goes to no webhook.
    """

    kind: Kind
    title: str
    text: str
    link: str
    once: str
    people: Sequence[int] = field(default=())
    severity: str = Severity.INFO
    project: int | None = None
    group: int | None = None
    is_personal: bool = False


def notify(
    kind: Kind,
    *,
    title: str,
    text: str,
    link: str,
    people: Iterable[Person],
    once: str,
    severity: str = Severity.INFO,
    project: int | None = None,
    group: int | None = None,
) -> None:
    """Tell people, and the webhooks that want this kind, once: a repeat with the same `once` does nothing.

    `link` is a path of the portal. Written with the caller's change, or not at all; the job "send mail" and the
    job "send webhooks" deliver it after the commit.
    """
    notify_all([Draft(kind, title, text, link, once, [each.pk for each in people], severity, project, group)])


@transaction.atomic
def notify_all(drafts: Sequence[Draft]) -> int:
    """Write many messages with a fixed number of statements a thousand; return how many were new."""
    return sum(_write(drafts[start : start + _BATCH]) for start in range(0, len(drafts), _BATCH))


def _write(drafts: Sequence[Draft]) -> int:
    messages = {
        draft.once: Message(
            kind=draft.kind,
            severity=draft.severity,
            title=draft.title[:200],
            text=draft.text,
            link=draft.link,
            once=draft.once,
            project_id=draft.project,
            group_id=draft.group,
        )
        for draft in drafts
    }
    Message.objects.bulk_create(messages.values(), ignore_conflicts=True)
    ours = set(
        Message.objects.filter(pk__in=[message.pk for message in messages.values()]).values_list(
            "pk", flat=True
        )
    )
    if not ours:
        return 0
    recipients = {person for draft in drafts for person in draft.people}
    addresses = dict(Person.objects.active().filter(pk__in=recipients).values_list("pk", "email"))
    webhooks = list(Webhook.objects.filter(removed=None).only("pk", "kinds"))
    deliveries = []
    for draft in {draft.once: draft for draft in drafts}.values():
        message = messages[draft.once]
        if message.pk not in ours:
            continue
        deliveries += [
            _to_person(message, person, addresses[person])
            for person in dict.fromkeys(draft.people)
            if person in addresses
        ]
        deliveries += [
            Delivery(message=message, channel=Delivery.Channel.WEBHOOK, webhook_id=webhook.pk)
            for webhook in webhooks
            if not draft.is_personal and (not webhook.kinds or draft.kind in webhook.kinds)
        ]
    Delivery.objects.bulk_create(deliveries, batch_size=_BATCH)
    return len(ours)


def _to_person(message: Message, person: int, address: str) -> Delivery:
    if address and settings.HAS_MAIL:
        return Delivery(message=message, channel=Delivery.Channel.EMAIL, person_id=person)
    return Delivery(
        message=message,
        channel=Delivery.Channel.PORTAL,
        person_id=person,
        state=Delivery.State.DELIVERED,
        next_attempt=None,
    )


def mark_seen(person: Person, chosen: Sequence[int], *, until: int | None = None) -> int:
    """Note that the person has seen deliveries of theirs, those chosen or all up to one; return how many.

    A note of the person to themselves: it changes nothing for anybody else and is not audited.
    """
    wanted = Q(pk__in=chosen)
    if until is not None:
        wanted |= Q(pk__lte=until)
    return Delivery.objects.filter(wanted, person=person, seen=None).update(seen=timezone.now())

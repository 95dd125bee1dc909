"""A gateway whose clock is off: noted with it, told once a day to those who look after gateways."""

import logging
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.accounts.access import people_who_may
from portal.accounts.policy import Right
from portal.gateway.models import Gateway
from portal.notifications.models import Kind, Severity
from portal.notifications.services import Draft, notify_all

log = logging.getLogger(__name__)
MOST_MS = 30_000
_MOST_SECONDS = 10**9  # a date of the year 1 or 9999 says no more
_NOTED_EVERY = timedelta(minutes=1)


def note(key_id: str, skew_ms: int) -> None:
    """Note by how much a gateway's clock is off, when that is more than 30 s. What it reported is booked already."""
    if abs(skew_ms) <= MOST_MS:
        return
    try:
        _note(key_id, max(-_MOST_SECONDS, min(skew_ms // 1000, _MOST_SECONDS)))
    except (DatabaseError, InterfaceError) as error:
        log.warning(
            "the clock of gateway %s is off by %d ms, which could not be noted: %s", key_id, skew_ms, error
        )


@transaction.atomic
def _note(key_id: str, seconds: int) -> None:
    now = timezone.now()
    seldom = Q(skewed=None) | Q(skewed__lt=now - _NOTED_EVERY)
    # A busy gateway reports many times a second.
    if not Gateway.objects.filter(seldom, key_id=key_id).update(skew=seconds, skewed=now):
        return
    gateway = Gateway.objects.get(key_id=key_id)
    text = (
        f"The gateway {gateway.name} dates what it reports. By the portal’s clock it is at least {abs(seconds)} s "
        f"{'ahead' if seconds > 0 else 'behind'}: {_WHY[seconds > 0]} Usage with a reservation is booked by the "
        "portal’s clock all the same; usage without one goes to the wrong day, and is rejected from five minutes in "
        "the future on. Set the gateway’s clock."
    )
    draft = Draft(
        Kind.OPERATIONS,
        f"{gateway.clock} at gateway {gateway.name}",
        text,
        reverse("gateway:list"),
        f"clock:{key_id}:{now:%Y-%m-%d}",
        list(people_who_may(Right.MANAGE_GATEWAYS).values_list("pk", flat=True)),
        Severity.WARN,
    )
    if notify_all([draft]):
        record(
            Action.GATEWAY_SKEWED,
            actor=Actor.system(),
            target=Target("gateway", gateway.key_id, gateway.name),
            changes={"skew": (None, seconds)},
        )


_WHY = {
    True: "a call was said to have ended after it was reported.",
    False: "a call was said to have ended before it was admitted.",
}

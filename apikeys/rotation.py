"""Give an API key another secret without an outage: for an overlap both work, under one id and the same limits."""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from apikeys.models import ApiKey
from apikeys.services import locked, note, publish
from audit.actions import Action
from audit.actors import Actor
from portal.credentials import digests
from portal.credentials.validity import life_of
from portal.lib.errors import RuleBroken

MOST_HOURS = 30 * 24
USUAL_HOURS = 24


def rotate_api_key(
    *,
    key: ApiKey,
    overlap_hours: int = USUAL_HOURS,
    days: int | None = None,
    actor: Actor,
    reason: str = "",
) -> tuple[ApiKey, str]:
    """Make another secret for the key; return the key with it. It is kept nowhere.

    The previous secret works for the overlap, at most until the key would have expired; with an overlap of 0 it is
    refused from the next call on. With ``days`` the key is valid for so long from now, else its expiry stays.
    Raises RuleBroken while an earlier rotation is open.
    """
    if not 0 <= overlap_hours <= MOST_HOURS:
        raise RuleBroken(f"Choose an overlap of 0 to {MOST_HOURS} hours.", field="overlap")
    with transaction.atomic(durable=True):
        key = locked(key)
        now = timezone.now()
        _refuse_unless_open_to_rotation(key, now)
        until = now + timedelta(hours=overlap_hours)
        if key.expires is not None:
            until = min(until, key.expires)
        issued = digests.issue("api_key", key_id=key.key_id)
        before = (key.hint, key.expires)
        key.previous_pepper_id, key.previous_digest, key.previous_hint = key.pepper_id, key.digest, key.hint
        key.previous_used = key.secret_used or key.last_used
        key.previous_until = until
        key.pepper_id, key.digest, key.hint = issued.pepper_id, issued.digest, issued.hint
        key.rotated, key.secret_used = now, None
        if days is not None:
            key.expires = max(now, key.not_before or now) + life_of(days)
        key.save()
        publish(key)
        changes = {
            "secret": (before[0], key.hint),
            "previous secret works until": (None, until if overlap_hours else None),
            "expires": (before[1], key.expires),
        }
        note(
            Action.API_KEY_ROTATED,
            key,
            {field: pair for field, pair in changes.items() if pair[0] != pair[1]},
            actor,
            reason,
        )
    return key, issued.secret


@transaction.atomic(durable=True)
def end_overlap(*, key: ApiKey, actor: Actor, reason: str = "") -> ApiKey:
    """Refuse the previous secret from the next call on; nothing happens when none works any more."""
    key = locked(key)
    before = key.rotating_until
    if before is None:
        return key
    key.previous_until = timezone.now()
    key.save(update_fields=["previous_until"])
    publish(key)
    changes = {"previous secret works until": (before, key.previous_until)}
    note(Action.API_KEY_OVERLAP_ENDED, key, changes, actor, reason)
    return key


def _refuse_unless_open_to_rotation(key: ApiKey, now: datetime) -> None:
    if key.revoked:
        raise RuleBroken("This key is revoked. Create another one.")
    if key.expires is not None and key.expires <= now:
        raise RuleBroken("This key has expired. Create another one.")
    if key.rotating_until is not None:
        raise RuleBroken(
            f"{key.name} is being rotated: two secrets work until {key.rotating_until:%-d %b %Y, %H:%M} UTC."
            " End that overlap first."
        )

"""Up to when Valkey may have forgotten calls that are booked: until its latest rebuild, as far as this process knows.

A rebuild brings back limits, credentials and sums, not each call of the last hour. A process learns of it when it
rebuilds or waits for it, and by its renewal within a second.
"""

from datetime import timedelta

from django.conf import settings

from portal.decision.models import Decider
from portal.spend import inbox

# In milliseconds: a call whose id was made later is remembered, if it has been before. Nothing is forgotten yet.
since = 0
_noted = (0, 0)


def note(decider: Decider) -> None:
    """Take note, once, of the rebuild that Valkey decides from."""
    global since, _noted
    opened = int(decider.changed.timestamp() * 1000)
    if decider.state != Decider.State.VALKEY or not decider.epoch or _noted == (decider.epoch, opened):
        return
    # A portal that has not been used yet has nothing to forget.
    is_used = inbox.has_usage(decider.changed - timedelta(seconds=settings.TOMBSTONE_SECONDS))
    since = opened if is_used else 0
    _noted = (decider.epoch, opened)

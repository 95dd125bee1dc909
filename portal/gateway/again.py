"""Request ids that come again long after their call.

Valkey remembers a call for TOMBSTONE_SECONDS after it has ended. A UUIDv7 tells when it was made, so that one of late
cannot be of an earlier call, and nothing has to be asked. Any other id is looked up in Postgres, and so is one that was
made before Valkey was last rebuilt.
"""

import logging
import time
import uuid

from django.conf import settings
from django.db import Error, close_old_connections, connection

from portal.decision import configuration, recall, reservation, usage
from portal.decision.decide import Allowed, Call
from portal.spend import inbox

log = logging.getLogger(__name__)
_CLOCKS_DIFFER = 300  # seconds
_KNOWN_FOR = settings.TOMBSTONE_SECONDS - _CLOCKS_DIFFER


def is_new(request_id: str) -> bool:
    """Whether the id itself says that it was made so lately that Valkey would still know an earlier use."""
    try:
        if len(request_id) == 36 and request_id[14] == "7":
            made = int(request_id[:8] + request_id[9:13], 16)
        else:
            parsed = uuid.UUID(request_id)
            if parsed.version != 7:
                return False
            made = parsed.int >> 80
    except ValueError:
        return False
    if not -_CLOCKS_DIFFER < time.time() - made / 1000 < _KNOWN_FOR:
        return False
    return not recall.since or made > recall.since + _CLOCKS_DIFFER * 1000


def give_back_if_booked(answer: Allowed, call: Call) -> bool:
    """Give back what was just reserved when usage or an estimate was booked under the id; whether it was.

    Decisions go on while Postgres cannot be asked.
    """
    held = reservation.decode(answer.reservation_id)
    if held is None:
        return False
    try:
        close_old_connections()
        is_booked = inbox.is_taken(held.gateway, call.request_id)
        if is_booked:
            usage.close([(held.gateway, call.request_id)], configuration.best())
    except Error as error:
        log.warning("whether %s is known was not asked: %s", call.request_id, error)
        connection.close()
        return False
    return is_booked

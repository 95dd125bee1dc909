"""Request ids that come again long after their call.

Valkey remembers a call for TOMBSTONE_SECONDS after it has ended. A UUIDv7 tells when it was made, so that one of late
cannot be of an earlier call, and nothing has to be asked. Any other id is looked up in Postgres, and so is one that was
made before Valkey was last rebuilt.
"""

import logging
import re
import time
import uuid

from django.conf import settings
from django.db import Error, close_old_connections, connection

from portal.decision import configuration, recall, reservation, usage
from portal.decision.decide import Allowed, Call
from portal.spend import inbox

log = logging.getLogger(__name__)
_CLOCKS_DIFFER = 300  # seconds
_USUAL = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_new(request_id: str) -> bool:
    """Whether the id itself says that it was made so lately that Valkey would still know an earlier use."""
    if usual := _USUAL.fullmatch(request_id):
        made = int(usual[1] + usual[2], 16)
    else:
        try:
            parsed = uuid.UUID(request_id)
        except ValueError:
            return False
        if parsed.version != 7:
            return False
        made = parsed.int >> 80
    age = time.time() - made / 1000
    if not -_CLOCKS_DIFFER < age < settings.TOMBSTONE_SECONDS - _CLOCKS_DIFFER:
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

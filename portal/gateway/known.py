"""Who calls: gateways and credentials, recognized by the decider, or by Postgres while that is away."""

import time

from django.utils import timezone

from portal.credentials import digests
from portal.decision import configuration, decider, last_use
from portal.decision.decide import Explanation
from portal.gateway.models import Gateway
from portal.lib import secrets
from portal.lib.errors import Unavailable


def gateway(secret: str) -> tuple[str, int] | None:
    """Return the id of the gateway and the time in milliseconds, or None for a stranger."""
    try:
        return decider.check_gateway(secret)
    except Unavailable:
        # Usage is committed to Postgres whether or not anybody can decide at the moment.
        configuration.refresh()
        parsed = secrets.parse(secret)
        row = (
            Gateway.objects.filter(key_id=parsed.key_id, revoked__isnull=True, suspended__isnull=True).first()
            if parsed and parsed.kind == "gateway"
            else None
        )
        if not digests.matches(secret, row and row.pepper_id, row and row.digest):
            return None
        if row is None:
            return None
        now = int(timezone.now().timestamp() * 1000)
        last_use.hear(row.key_id, now // 1000)
        return row.key_id, now


def explain(secret: str) -> Explanation:
    """Say what is left for the holder of the credential."""
    parsed = secrets.parse(secret)
    if parsed is None or parsed.kind == "gateway":
        return Explanation("credential_unknown", int(time.time() * 1000), [], "", "", 0)
    return decider.explain(parsed.key_id, secret=secret)

"""The world in which Postgres decides every call that Valkey decides, from its own state: they must say the same."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from unittest import mock
from zoneinfo import ZoneInfo

from django.db import transaction

from portal.decision import carry, fallback, fallback_store, reservation
from portal.decision.decide import Allowed, Call, Refused, Row
from portal.decision.fallback_rules import Bound
from portal.decision.models import FallbackReservation
from portal.lib import windows
from portal.organization.selectors import current as current_organization
from tests.decision.world import Held, World

# Zones that change their clocks in different months, so that one of them does within the ledger's months.
CHANGING = ("Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago")


@dataclass
class Mirror(World):
    """Drives both deciders; the rows they book are the same."""

    def __post_init__(self) -> None:
        # Postgres keeps its reservations: a rebuild would bring them to Valkey, which has them all.
        self.apart = mock.patch.multiple(carry, carry=lambda *_: 0, forget=lambda: None)
        self.apart.start()
        super().__post_init__()

    def close(self) -> None:
        super().close()
        self.apart.stop()

    def decide(self, call: Call) -> Allowed | Refused:
        answer = super().decide(call)
        with transaction.atomic():
            mirrored = fallback.decide_call(self.gateway_secret, call, now_ms=self.now).answer
        assert comparable(mirrored) == comparable(answer)
        return answer

    def release(self, held: Held) -> None:
        super().release(held)
        FallbackReservation.objects.filter(request_id=held.request_id, state="open").update(state="released")

    def extend(self, held: Held) -> int | None:
        expires = super().extend(held)
        decoded = reservation.decode(held.reservation_id)
        assert decoded is not None
        with transaction.atomic():
            assert fallback.extend_here(decoded, now_ms=self.now) == expires
        return expires

    def check(self) -> None:
        super().check()
        expected = self.expected()
        zone = current_organization().zone
        current = {window.kind: window for window in windows.windows_at(self.now / 1000, zone)}
        bounds = [bound(key) for key in sorted(expected)]
        summed = fallback_store.used(bounds, self.now, current)
        assert {
            limit.key: (0 if limit.window == "none" else used.settled, used.reserved)
            for limit, used in zip(bounds, summed, strict=True)
        } == expected


def bound(key: str) -> Bound:
    """Return a limit with the counter key."""
    scope, metric, window, pattern = key.removeprefix("k:").split("|")
    return Bound(scope, scope, "", metric, window, pattern, True, 0)


def comparable(answer: Allowed | Refused) -> Allowed | Refused:
    """Return the answer without the order of its limits and what is different for every decision."""
    if isinstance(answer, Allowed):
        return answer._replace(rows=sorted(answer.rows, key=_name))
    rows = tuple(sorted(answer.rows, key=_name))
    return replace(answer, decision_id="", rows=rows)


def _name(row: Row) -> tuple[str, str, str, str]:
    return row.scope, row.metric, row.window, row.model


def clock_changes(zone: str, now: datetime) -> datetime | None:
    """Return the change of the zone's clocks that lies nearest to now, within the months the ledger has."""
    hours = [now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=n) for n in range(-1600, 1600)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    changes = [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]]
    return min(changes, key=lambda change: abs(change - now), default=None)


def edge() -> tuple[str, datetime]:
    """Return a zone and the moment near which its clocks change; a month's end where none does."""
    now = datetime.now(UTC)
    for zone in CHANGING:
        change = clock_changes(zone, now)
        if change is not None:
            return zone, change
    return "UTC", now

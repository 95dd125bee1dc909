"""The minute's check by hand."""

from typing import Any

from portal.decision.check import check_limits
from portal.decision.drift import Difference
from portal.decision.health import note_check
from portal.decision.services import shown_amount
from portal.spend.standings import Standing
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``check_limits``: what it finds it repairs."""

    help = "Compare counters, roll-ups and limits: repair drift, name the limits that are over or near."

    def perform(self, **options: Any) -> None:
        """Check once."""
        found = check_limits(self.actor)
        note_check()
        answer = {
            "limits": found.limits,
            "over": [_standing(standing) for standing in found.over],
            "near": [_standing(standing) for standing in found.near],
            "drift": [_drift(difference) for difference in found.drift],
            "alerts": found.alerts,
        }
        counts = f"{len(found.over)} over, {len(found.near)} near, {len(found.drift)} repaired"
        lines = [f"{found.limits} counters looked at, {counts}, {found.alerts} new alerts."]
        for title, standings in (("over", found.over), ("near", found.near)):
            for standing in standings:
                limit, (used, amount) = standing.limit, _amounts(standing)
                lines.append(
                    f"{title}: {standing.counter[2:]}: {used} of {amount} {limit.metric} per {limit.window}"
                )
        lines += [f"repaired: {d.counter[2:]}: {d.counted} -> {d.recorded}" for d in found.drift]
        self.answer(answer, "\n".join(lines))


def _amounts(standing: Standing) -> tuple[str, str]:
    metric = standing.limit.metric
    return shown_amount(metric, standing.used), shown_amount(metric, standing.amount)


def _standing(standing: Standing) -> dict[str, Any]:
    used, amount = _amounts(standing)
    return {
        "scope": standing.counter[2:].split("|", 1)[0],
        "metric": standing.limit.metric,
        "window": standing.limit.window,
        "model": standing.limit.model,
        "used": used,
        "limit": amount,
        "percent": standing.percent,
    }


def _drift(difference: Difference) -> dict[str, Any]:
    return {
        "counter": difference.counter[2:],
        "counted": difference.counted,
        "recorded": difference.recorded,
    }

"""Compare what is counted with what is recorded."""

from typing import Any

from portal.decision.check import reconcile
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``reconcile_spend``: exit status 1 on any difference; it changes nothing."""

    help = "Compare counters with roll-ups and inbox, open reservations with counters, and roll-ups with the ledger."

    def perform(self, **options: Any) -> int:
        """Compare everything once."""
        found = reconcile()
        number = sum(len(rows) for rows in found.values())
        lines = [f"{kind}: {row}" for kind, rows in found.items() for row in rows]
        lines.append("Everything agrees." if not number else f"{number} differences.")
        self.answer({**found, "differences": number}, "\n".join(lines))
        return 1 if number else 0

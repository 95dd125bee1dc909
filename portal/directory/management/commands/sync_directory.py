"""One run of the Entra ID synchronization by hand."""

from typing import Any

from portal.directory.models import SyncRun
from portal.directory.sync import sync
from portal.web.commands import PortalCommand

SHOWN = {
    "people": "people read",
    "left": "left",
    "returned": "returned",
    "changed": "renamed",
    "suspended_later": "tokens suspended later",
    "groups": "groups read",
    "groups_changed": "groups with other members",
    "groups_missing": "groups gone",
    "memberships_ended": "memberships ended",
    "resyncs": "new starts",
    "certificates_ending": "certificates ending",
}


class Command(PortalCommand):
    """``sync_directory``: exit status 1 when the directory does not answer or another run goes on."""

    help = "Bring people and groups in step with Entra ID, once."

    def perform(self, **options: Any) -> int | None:
        """Run once."""
        run = sync(actor=self.actor, asked_by=self.actor.display)
        counts = {name: run.counts.get(name, 0) for name in SHOWN}
        lines = [
            f"{SHOWN[name]}: {count}"
            for name, count in counts.items()
            if count or name in ("people", "groups")
        ]
        if run.problem:
            lines.append(f"failed: {run.problem}")
        data = {"outcome": run.outcome, "full": run.is_full, **counts, "problem": run.problem or None}
        self.answer(data, "\n".join(lines))
        return 1 if run.outcome == SyncRun.Outcome.FAILED else None

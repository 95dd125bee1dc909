"""Prove that the audit log is as it was written."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from audit.anchors import BadAnchor, read_anchors
from audit.verification import verify
from portal.web.commands import PortalCommand, UsageError


class Command(PortalCommand):
    """``verify_audit_log [--anchors DIR]``: 0 intact, 1 tampered with, 2 usage, 3 nothing to verify against."""

    help = (
        "Compute the hash chain of the audit log again and hold its columns to it. Exit status 0: intact, "
        "1: tampered with, 3: nothing to verify against (the log or the directory of anchors is empty)."
    )

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument(
            "--anchors",
            metavar="DIR",
            type=Path,
            help="anchors kept outside of the database: they tell of an end that was cut off or written anew",
        )

    def perform(self, *, anchors: Path | None, **options: Any) -> int | None:
        """Read the log once; it changes nothing."""
        if anchors is not None and not anchors.is_dir():
            raise UsageError(f"{anchors} is no directory.")
        try:
            proof = verify(read_anchors(anchors) if anchors else ())
        except BadAnchor as error:
            raise UsageError(str(error)) from error
        is_nothing = not proof.entries or (anchors is not None and not proof.anchors)
        outcome = "tampered" if proof.found else "nothing" if is_nothing else "intact"
        lines = [str(each) for each in proof.findings]
        lines.append(
            f"Tampered with: {proof.found} findings in {proof.entries} entries."
            if proof.found
            else "Nothing to verify against: the audit log is empty."
            if not proof.entries
            else f"Nothing to verify against: no anchors in {anchors}. The chain of {proof.entries} entries is intact."
            if is_nothing
            else f"Intact: {proof.entries} entries, {proof.anchors} anchors. Entry {proof.last_seq}: {proof.last_hash}"
        )
        data = asdict(proof) | {"outcome": outcome, "last_hash": proof.last_hash if proof.entries else None}
        self.answer(data, "\n".join(lines))
        return {"intact": None, "tampered": 1, "nothing": 3}[outcome]

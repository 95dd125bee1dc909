"""Take the audit log away, in the order it was written."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from audit.actions import Action
from audit.actors import Target
from audit.anchors import write_anchor
from audit.exporting import HEADS, Manifest, cells_of, lines_of_json
from audit.selectors import Wanted, in_order, last_entry, matching, sealed_entries
from audit.services import record_export
from portal.organization.commands import moment
from portal.web.commands import PortalCommand, UsageError
from portal.web.csv import lines


class Command(PortalCommand):
    """``export_audit_log [--since T] [--until T] --format ndjson|csv [--anchor DIR]``."""

    help = (
        "Write the audit log to standard output, oldest entry first. A manifest (rows, first and last entry, last "
        "hash) follows: as the last line of ndjson, on standard error for csv. The export is audited itself."
    )

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("--format", choices=["ndjson", "csv"], required=True)
        parser.add_argument("--since", metavar="T", help="a moment (RFC 3339) or a day, included")
        parser.add_argument("--until", metavar="T", help="a moment (RFC 3339) or a day, not included")
        parser.add_argument("--anchor", metavar="DIR", type=Path, help="keep the end of the log there too")

    def perform(
        self,
        *,
        format: str,  # noqa: A002  the option's name
        since: str | None,
        until: str | None,
        anchor: Path | None,
        reason: str,
        **options: Any,
    ) -> None:
        """Write it as it is read: memory stays the same however long the log is."""
        if self._as_json:
            raise UsageError("An export has a format of its own: --format ndjson instead of --json.")
        if anchor is not None and not anchor.is_dir():
            raise UsageError(f"{anchor} is no directory.")
        wanted = Wanted(since=moment(since) if since else None, until=moment(until) if until else None)
        last = last_entry()
        number = last.seq if last else 0
        record_export(
            Action.AUDIT_EXPORTED,
            actor=self.actor,
            target=Target("audit_log", "1", "the audit log"),
            changes={"format": (None, format), "up_to_entry": (None, number)}
            | ({"since": (None, wanted.since)} if since else {})
            | ({"until": (None, wanted.until)} if until else {}),
            comment=reason,
        )
        seals = in_order(matching(sealed_entries(), wanted), up_to=number)
        if format == "csv":
            manifest = Manifest()
            for line in lines(HEADS, (cells_of(seal) for seal in manifest.counting(seals))):
                self.stdout.write(line, ending="")
            self.stderr.write(manifest.line(), ending="")
        else:
            for line in lines_of_json(seals):
                self.stdout.write(line, ending="")
        if anchor is not None:
            write_anchor(anchor, last)

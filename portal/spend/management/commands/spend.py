"""What was used and refused, from ledger and inbox."""

from typing import Any

from django.core.management.base import CommandParser

from portal.decision import jobs
from portal.lib.errors import Unavailable
from portal.lib.money import decimal_string
from portal.organization.commands import moment
from portal.spend.booked import booked
from portal.web.commands import PortalCommand
from projects.commands import group_named, project_named


class Command(PortalCommand):
    """``spend (--organization | --group C | --project C) [--since T] [--until T]``."""

    help = "Add up calls, model tokens and spend from ledger and inbox, and refused calls; default all time."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        scope = parser.add_mutually_exclusive_group(required=True)
        scope.add_argument("--organization", action="store_true")
        scope.add_argument("--group", metavar="CODE")
        scope.add_argument("--project", metavar="CODE")
        parser.add_argument("--since", metavar="T", help="a moment (RFC 3339) or a day, included")
        parser.add_argument("--until", metavar="T", help="a moment (RFC 3339) or a day, not included")

    def perform(self, *, group: str, project: str, since: str, until: str, **options: Any) -> None:
        """Add it up, after bringing in the refusals that wait in Valkey."""
        try:
            jobs.move_refusals()
        except Unavailable as error:
            self.stderr.write(f"The latest refusals may be missing: {error}")
        used = booked(
            project=project_named(project).pk if project else None,
            group=group_named(group).pk if group else None,
            since=moment(since) if since else None,
            until=moment(until) if until else None,
        )
        answer = {
            "calls": used.calls,
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
            "spend": decimal_string(used.spend),
            "refused": used.refused,
        }
        self.answer(answer, "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in answer.items()))

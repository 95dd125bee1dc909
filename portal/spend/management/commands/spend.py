"""What was used and refused, from ledger and inbox."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser
from django.utils.dateparse import parse_date, parse_datetime

from portal.decision import jobs
from portal.lib.errors import Unavailable
from portal.lib.money import decimal_string
from portal.lib.windows import midnight, to_datetime
from portal.organization.selectors import current as current_organization
from portal.spend.booked import booked
from portal.web.commands import PortalCommand, UsageError
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
            since=_moment(since) if since else None,
            until=_moment(until) if until else None,
        )
        answer = {
            "calls": used.calls,
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
            "spend": decimal_string(used.spend),
            "refused": used.refused,
        }
        self.answer(answer, "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in answer.items()))


def _moment(text: str) -> datetime:
    """Read a moment; without a zone it is UTC, and a day begins at the organization's midnight."""
    try:
        if day := parse_date(text):
            return to_datetime(midnight(day, current_organization().time_zone))
        if moment := parse_datetime(text):
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        pass
    raise UsageError(f"{text} is no moment. Write it like 2026-11-24T09:00:00Z or 2026-11-24.")

"""What all management commands share: exit status, --json, --reason and the actor.

Exit status 0 = done, 1 = refused or a finding, 2 = wrong usage.
"""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from audit.actors import Actor
from portal.lib.errors import RuleBroken, Unavailable


class Refused(CommandError):
    """The change was refused; exit status 1."""


class UsageError(CommandError):
    """The arguments do not fit together; exit status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=2)


class PortalCommand(BaseCommand):
    """Base of the portal's commands.

    A subclass declares its own options in `add_options` and works in `perform`, which answers once with
    `answer` and returns an exit status other than 0 only for a finding. `RuleBroken` and `Unavailable` become
    a sentence on standard error and exit status 1; with ``--json`` standard output gets an ``error`` object.
    """

    requires_system_checks = []  # a command must also help where the configuration is wrong

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options every command has, then those of the subclass."""
        parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
        parser.add_argument("--reason", default="", help="why, for the audit log")
        self.add_options(parser)

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""

    def perform(self, *args: Any, **options: Any) -> int | None:
        """Do the work; return an exit status, or None for 0."""
        raise NotImplementedError

    @property
    def actor(self) -> Actor:
        """Who runs the command, for the audit log."""
        return Actor.command(type(self).__module__.rpartition(".")[2])

    def handle(self, *args: Any, **options: Any) -> None:
        """Run `perform` and turn its outcome into output and exit status."""
        self._as_json = bool(options.pop("json"))
        for name in (
            "verbosity",
            "settings",
            "pythonpath",
            "traceback",
            "no_color",
            "force_color",
            "skip_checks",
        ):
            options.pop(name, None)
        try:
            status = self.perform(**options)
        except RuleBroken as refusal:
            self._answer_error(refusal.message, field=refusal.field)
            raise Refused(refusal.message) from refusal
        except ValidationError as refusal:
            message = " ".join(refusal.messages)
            self._answer_error(message, field=None)
            raise Refused(message) from refusal
        except Unavailable as failure:
            self._answer_error(str(failure), field=None)
            raise Refused(str(failure)) from failure
        except UsageError as mistake:
            self._answer_error(str(mistake), field=None)
            raise
        if status:
            raise SystemExit(status)

    def answer(self, data: dict[str, Any], text: str) -> None:
        """Print the result: `data` as one JSON object with ``--json``, otherwise `text` for a person."""
        if self._as_json:
            self.stdout.write(json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False))
        elif text:
            self.stdout.write(text)

    def _answer_error(self, message: str, *, field: str | None) -> None:
        if self._as_json:
            error = {"message": message} | ({"field": field} if field else {})
            self.stdout.write(json.dumps({"error": error}, ensure_ascii=False))

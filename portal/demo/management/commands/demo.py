"""`manage.py demo`: the whole portal on this machine, with sample data and a stand-in for Microsoft's sign-in."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal import env
from portal.demo.servers import ServersError
from portal.demo.supervisor import DEFAULT_PORT, DemoError, Supervisor


class Command(BaseCommand):
    help = (
        "Run the portal with servers, sample data and a stand-in for sign-in, until Ctrl-C. "
        "Like every command it takes --data-dir DIR (default: PORTAL_DATA_DIR, else var)."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port", type=int, help=f"port of the portal (default: the first free one from {DEFAULT_PORT})"
        )
        parser.add_argument(
            "--with-parent", action="store_true", help="stop when the process that started this one ends"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            Supervisor(env.data_dir(), options["port"], self._say, with_parent=options["with_parent"]).run()
        except (DemoError, ServersError) as error:
            raise CommandError(str(error)) from None

    def _say(self, text: str) -> None:
        with suppress(OSError):  # whoever listened may be gone; stopping in order matters more
            self.stdout.write(text)
            self.stdout.flush()

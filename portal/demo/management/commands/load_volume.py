"""Make a portal of the size of a large company, to measure pages and checks with."""

import time
from typing import Any

from django.core.management.base import CommandParser

from portal.demo.volume import Size, load
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``load_volume [--projects N] [--credentials N] [--days N]``."""

    help = "Add projects, credentials and a month of usage by the hundred thousand, to measure pages and checks with."

    def add_options(self, parser: CommandParser) -> None:
        """Declare how much."""
        parser.add_argument("--projects", type=int, default=Size().projects)
        parser.add_argument("--credentials", type=int, default=Size().credentials)
        parser.add_argument("--days", type=int, default=Size().days, help="of usage, up to today")

    def perform(self, *, projects: int, credentials: int, days: int, **_: Any) -> None:
        """Load it."""
        began = time.monotonic()
        load(Size(projects, credentials, days))
        took = round(time.monotonic() - began, 1)
        self.answer(
            {"projects": projects, "credentials": credentials, "days": days, "seconds": took},
            f"{projects:,} projects, {credentials:,} credentials and {days} days of usage in {took} s.",
        )

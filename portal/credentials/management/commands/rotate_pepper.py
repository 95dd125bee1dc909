"""Say how many active credentials use each pepper: an old one may go when none does."""

import argparse
from typing import Any

from django.conf import settings

from portal.checks import peppers_in_use
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """New secrets use the highest number in PORTAL_PEPPERS; adding one there is the rotation."""

    help = __doc__

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--status", action="store_true", required=True, help="count credentials for each pepper"
        )

    def perform(self, **options: Any) -> int | None:
        used = peppers_in_use()
        newest = max(settings.PEPPERS)
        numbers = sorted(settings.PEPPERS.keys() | used.keys())
        missing = [number for number in used if number not in settings.PEPPERS]
        self.answer(
            {"newest": newest, "credentials": {str(n): used.get(n, 0) for n in numbers}, "missing": missing},
            "\n".join(
                f"pepper {n}: {used.get(n, 0)} active credentials"
                + (" (newest)" if n == newest else "")
                + (" (MISSING)" if n in missing else "")
                for n in numbers
            ),
        )
        return 1 if missing else None

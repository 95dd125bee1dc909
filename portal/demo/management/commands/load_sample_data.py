"""Make the sample organization of a demonstration."""

import time
from typing import Any

from portal.demo.sample.load import load
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``load_sample_data``: safe to run again."""

    help = (
        "Make the sample organization with a month of usage that ends now; nothing happens when it is there."
    )

    def perform(self, **options: Any) -> None:
        """Load it."""
        began = time.monotonic()
        loaded = load(self.actor)
        took = round(time.monotonic() - began, 1)
        text = (
            f"{loaded.projects} projects, {loaded.calls:,} calls in {took} s."
            if loaded.is_new
            else "The sample organization is there already."
        )
        self.answer(
            {"projects": loaded.projects, "calls": loaded.calls, "new": loaded.is_new, "seconds": took}, text
        )

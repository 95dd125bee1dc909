"""The web server: `python -m portal.serve`. On SIGTERM it is first not ready any more, serves on, and then ends.

A load balancer needs a moment to learn from /readyz that this one goes: PORTAL_DRAIN_SECONDS. Meanwhile every answer
closes its connection, so that clients come back through the balancer. Then nothing new is accepted, what is in flight
has 25 s to finish, and the process ends. A second signal ends the wait.
"""

import argparse
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import Interfaces

from portal import env
from portal.lib import drain

_IN_FLIGHT = 25  # seconds
APPLICATION = "portal.wsgi:application"


class Server(Granian):  # type: ignore[misc, valid-type]  # which class it is depends on the interpreter
    """Granian that drains before it ends."""

    def __init__(self, *arguments: Any, wait: float, file: Path, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.wait, self.file = wait, file
        self._is_draining = False

    def signal_handler_interrupt(self, *arguments: Any, **named: Any) -> None:
        """Take SIGTERM or SIGINT: tell the workers, and end after the wait; at once when it comes again."""
        self.file.touch()
        # Workers that got the signal too are not to be replaced.
        self.respawn_failed_workers = False
        if self._is_draining or self.wait <= 0:
            super().signal_handler_interrupt()
            return
        self._is_draining = True
        timer = threading.Timer(self.wait, super().signal_handler_interrupt)
        timer.daemon = True
        timer.start()


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104  inside its container
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--application", default=APPLICATION)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portal-web-") as directory:
        file = Path(directory) / "draining"
        os.environ[drain.FILE] = str(file)
        os.environ["PORTAL_WEB_THREADS"] = str(chosen.threads)
        Server(
            chosen.application,
            address=chosen.host,
            port=chosen.port,
            interface=Interfaces.WSGI,
            workers=chosen.workers,
            blocking_threads=chosen.threads,
            backlog=1024,
            respawn_failed_workers=True,
            workers_kill_timeout=_IN_FLIGHT,
            log_access=False,
            wait=env.number("PORTAL_DRAIN_SECONDS", 5),
            file=file,
        ).serve()


if __name__ == "__main__":
    main()

"""Ends what a killed supervisor leaves behind: `python -m portal.demo.watchdog`.

The supervisor writes the id of each session it starts as a line (`+123`), and takes it back when that session
has ended (`-123`). Its end, however it came about, closes the pipe; then every session still named is asked to
stop, and after some seconds ended by force, grandchildren included. The watchdog inherits the supervisor's lease
of the servers, so that they outlive those who use them.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from portal.demo import processes

_GRACE = 3.0


def is_alive(session: int) -> bool:
    """Whether any process of the session's group is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of a group of zombies
        return False
    return True


def signal_session(session: int, number: signal.Signals) -> None:
    """Send a signal to every process of the session's group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, number)


def main() -> None:
    """Follow the supervisor until it ends, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with the supervisor and not before
    sessions: set[int] = set()
    for line in sys.stdin:
        (sessions.add if line[0] == "+" else sessions.discard)(int(line[1:]))
    for session in sessions:
        signal_session(session, signal.SIGTERM)
    processes.wait_until(lambda: not any(map(is_alive, sessions)), within=_GRACE, every=0.1)
    for session in sessions:
        signal_session(session, signal.SIGKILL)


if __name__ == "__main__":
    main()

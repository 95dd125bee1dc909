"""Free ports on the loopback address."""

from __future__ import annotations

import socket
import sys

HOST = "127.0.0.1"


class Ports:
    """Ports kept for the servers that this process is about to start, until `close` or its end."""

    def __init__(self) -> None:
        self._kept: list[socket.socket] = []

    def take(self, port: int) -> bool:
        """Keep this port if a server could listen on it now.

        Between now and then another demonstration could take it for free as well, so on Linux a name that exists
        once in the network namespace stands for it.
        """
        name = socket.socket(socket.AF_UNIX)
        try:
            if sys.platform == "linux":
                name.bind(f"\0llm-gateway-portal-port-{port}")
        except OSError:
            name.close()
            return False
        if not _is_free(port):
            name.close()
            return False
        self._kept.append(name)
        return True

    def take_from(self, first: int) -> int:
        """Keep the first port from `first` upwards that is free."""
        return next(port for port in range(first, 65536) if self.take(port))

    def close(self) -> None:
        """Give all of them back."""
        while self._kept:
            self._kept.pop().close()


def is_listening(port: int) -> bool:
    """Whether somebody answers there."""
    with socket.socket() as trial:
        trial.settimeout(1)
        return trial.connect_ex((HOST, port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        # Connections that are closing do not count.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
            trial.listen(1)
        except OSError:
            return False
    return True

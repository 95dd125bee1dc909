"""Free ports on the loopback address."""

from __future__ import annotations

import socket
from collections.abc import Iterator

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as trial:
        trial.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # connections that are closing do not count
        try:
            trial.bind((HOST, port))
            trial.listen(1)
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Whether somebody answers there."""
    with socket.socket() as trial:
        trial.settimeout(1)
        return trial.connect_ex((HOST, port)) == 0


def free_ports(first: int) -> Iterator[int]:
    """Ports that are free, from `first` upwards."""
    return (port for port in range(first, 65536) if is_free(port))

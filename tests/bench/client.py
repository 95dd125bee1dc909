"""A load generator: so many connections, each with one request under way, for so many seconds."""

import json
import selectors
import socket
import sys
import time
from typing import cast

from portal.lib.uuid7 import uuid7


def run(
    port: int,
    path: str,
    headers: str,
    body: dict[str, object],
    connections: int,
    seconds: float,
    adds_id: bool = True,
) -> float:
    """Return answers a second; raise when one is not 200."""

    def request() -> bytes:
        raw = json.dumps({**body, "request_id": str(uuid7())} if adds_id else body)
        return (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}"
            f"Content-Length: {len(raw)}\r\n\r\n{raw}"
        ).encode()

    selector = selectors.DefaultSelector()
    for _ in range(connections):
        link = socket.create_connection(("127.0.0.1", port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(request())
        selector.register(link, selectors.EVENT_READ, bytearray())
    answers, begun = 0, time.perf_counter()
    while (now := time.perf_counter()) < begun + seconds:
        for key, _ in selector.select(timeout=1):
            link, held = cast(socket.socket, key.fileobj), key.data
            held += link.recv(65536)
            head, found, rest = held.partition(b"\r\n\r\n")
            if not found:
                continue
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(rest) < length:
                continue
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(bytes(held).decode())
            held.clear()
            answers += 1
            link.sendall(request())
    for key in list(selector.get_map().values()):
        cast(socket.socket, key.fileobj).close()
    return answers / (now - begun)


if __name__ == "__main__":
    order = json.load(sys.stdin)
    print(run(**order))  # noqa: T201

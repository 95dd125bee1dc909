"""What authorize over HTTP is compared with: a callable in the same server that only forwards to the same function."""

import json
import os
import time
from typing import Any

from portal.wsgi import application as portal  # isort: skip – sets Django up

from portal.credentials.presented import presented
from portal.decision import configuration, decide, rebuild, valkey
from portal.lib.uuid7 import uuid7

_arguments: list[Any] = []


def _prepare() -> list[Any]:
    order = json.loads(os.environ["PORTAL_BENCH"])
    gateway, credential = presented(order["gateway"]), presented(order["credential"])
    assert gateway
    assert credential
    config = configuration.current()
    moment = int(time.time() * 1000)
    price = config.price(order["model"], moment)
    assert price
    who = [gateway.key_id, gateway.peppers, gateway.digests, credential.key_id, credential.digests]
    amounts = decide.AMOUNTS.pack(price.id, 0, 350_000, 0, 300)
    before = ["", decide.frame_of(config, moment).text, *who]
    return [before, ["0" * 24, order["model"], amounts, "", uuid7().bytes, "", ""]]


def forward(raw: bytes) -> bytes:
    """Send the call on with arguments that are known beforehand; return a constant, or what was refused."""
    if not _arguments:
        _arguments.extend(_prepare())
    start = raw.rfind(b'"request_id": "') + 15
    request = raw[start : raw.index(b'"', start)].decode() if start > 15 else str(uuid7())
    answer = [b"rebuild"]
    while answer[0] == b"rebuild":
        answer = valkey.call("authorize", *_arguments[0], f"r:bench:{request}", request, *_arguments[1])
        if answer[0] == b"rebuild":
            rebuild.ensure_ready()  # the lease of the decider has to be renewed
    return b'{"decision":"allow"}' if answer[0] == b"ok" else repr(answer).encode()


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Answer /reference, and with what Envoy asks below it; everything else is the portal's."""
    if not environ["PATH_INFO"].startswith("/reference"):
        return portal(environ, start_response)
    body = forward(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    status = "200 OK" if body == b'{"decision":"allow"}' else "500 Refused"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]

"""What the measured paths are compared with: the same work for the servers, none of our rules."""

import json
import os
import time
from typing import Any

from django.conf import settings

from portal.wsgi import application as portal  # isort: skip – sets Django up

from portal.decision import configuration, decide, valkey
from portal.lib import secrets

# Reads and writes what `authorize` does, and decides nothing.
LIBRARY = """#!lua name=bench
local function bare(_, A)
  redis.call('TIME')
  redis.call('GET', 'meta')
  redis.call('MGET', 'w:' .. A[1], 'd:w:' .. A[1])
  redis.call('MGET', 's:' .. A[2], 'd:s:' .. A[2])
  redis.call('MGET', 'p:' .. A[3], 'd:p:' .. A[3])
  redis.call('HSET', 'seen', A[2], A[4])
  redis.call('GET', A[5])
  for _, packed in ipairs(redis.call('MGET', unpack(A, 7, 13))) do if packed then cmsgpack.unpack(packed) end end
  local counters, kept = redis.call('MGET', unpack(A, 14, 20)), {}
  for i = 1, 7 do
    kept[2 * i - 1] = A[13 + i]
    kept[2 * i] = counters[i] and cmsgpack.pack(cmsgpack.unpack(counters[i])) or cmsgpack.pack({1, 2, 3, 4, 5, 6})
  end
  redis.call('MSET', unpack(kept))
  redis.call('SET', A[5], A[6])
  redis.call('ZADD', 'bench:x', 1, A[5])
  return {'ok', A[6]}
end
server.register_function('bare', bare)
"""

_arguments: list[Any] = []


def _prepare() -> list[Any]:
    order = json.loads(os.environ["PORTAL_BENCH"])
    gateway, credential = secrets.parse(order["gateway"]), secrets.parse(order["credential"])
    assert gateway
    assert credential
    config = configuration.current()
    moment = int(time.time() * 1000)
    price = config.price(order["model"], moment)
    assert price
    peppers, gateway_digests = decide.digest_arguments(order["gateway"])
    _, credential_digests = decide.digest_arguments(order["credential"])
    windows = decide._window_arguments(moment, config.zone)
    who = [gateway.key_id, peppers, gateway_digests, credential.key_id, credential_digests]
    estimate = [price.id, 0, 350_000, 0, 300, "", settings.RESERVATION_SECONDS * 1000]
    refusal = ["01a20dd0-e17d-78ac-8981-79c58bf01484", settings.REFUSAL_STREAM_LENGTH, ""]
    return [["", config.version, *windows, *who], ["fingerprint", order["model"], *estimate, *refusal]]


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Forward to the same function in Valkey and answer a constant; everything else is the portal's."""
    if environ["PATH_INFO"] != "/reference":
        return portal(environ, start_response)
    if not _arguments:
        _arguments.extend(_prepare())
    raw = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    request = raw[raw.rindex(b'"request_id": "') + 15 : -2].decode()
    answer = valkey.call("authorize", *_arguments[0], f"r:bench:{request}", request, *_arguments[1])
    body = b'{"decision":"allow"}' if answer[0] == b"ok" else repr(answer).encode()
    status = "200 OK" if answer[0] == b"ok" else "500 Refused"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]

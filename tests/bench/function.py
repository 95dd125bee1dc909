"""The decision inside Valkey, against a function with the same reads and writes and no rules.

The baseline makes the same five commands with the same keys and sizes: it reads the records, the limits and the
counters, adds the call to each counter, writes counters and reservation, and answers as long. It checks nothing, and
looks at no limit.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.bench.load import call
from tests.bench.row import Row, interleaved

LIBRARY = """#!lua name=bench
local fixed, reads, writes, record, reply
local function prepare(_, A)
  fixed, reads, writes, reply = cjson.decode(A[1]), cjson.decode(A[2]), {}, {'ok'}
  for _, key in ipairs(cjson.decode(A[3])) do
    redis.call('SET', 'bench:' .. key, redis.call('GET', key))
    reads[#reads + 1] = 'bench:' .. key
    writes[#writes + 1] = 'bench:' .. key
    writes[#writes + 1] = ''
  end
  record = string.rep('x', A[4])
  for n = 5, #A do reply[n - 3] = string.rep('x', A[n]) end
  return {'ok'}
end
local function bare(_, A)
  redis.call('TIME')
  redis.call('MGET', fixed[1], fixed[2], fixed[3], fixed[4], fixed[5], A[8])
  local price, hi, lo = struct.unpack('<ddd', A[12])
  local got, last = redis.call('MGET', unpack(reads)), #writes
  local offset = #reads - last / 2
  for i = 1, last / 2 do
    local v = got[offset + i]
    if #v == 32 then
      local start, this, previous, seq = struct.unpack('<dddd', v)
      writes[2 * i] = struct.pack('<dddd', start, this + 1, previous, seq + 1)
    else
      local start, sh, sl, rh, rl, seq = struct.unpack('<dddddd', v, #v - 47)
      rh, rl = rh + hi, rl + lo
      if rl >= 1000000000 then rh, rl = rh + 1, rl - 1000000000 end
      writes[2 * i] = string.sub(v, 1, -49) .. struct.pack('<dddddd', start, sh, sl, rh, rl, seq + 1)
    end
  end
  writes[last + 1], writes[last + 2] = A[8], record
  redis.call('MSET', unpack(writes))
  writes[last + 1], writes[last + 2] = nil, nil
  redis.call('ZADD', 'bench:x', 1, A[8])
  return reply
end
server.register_function('bare', bare)
server.register_function('bench_prepare', prepare)
"""


def row(order: Mapping[str, str]) -> Row:
    """Measure the time Valkey itself says its functions take."""
    from portal.decision import decide, valkey
    from portal.decision.decide import Allowed, Call
    from portal.lib.uuid7 import uuid7

    valkey.command("FUNCTION", "LOAD", "REPLACE", LIBRARY)
    asked = call(order)

    def ours() -> None:
        if not isinstance(
            decide.authorize(order["gateway"], Call(request_id=str(uuid7()), **asked)), Allowed
        ):
            raise SystemExit("the call is refused")

    ours()
    ours()
    arguments, answer = _witnessed(ours)
    keys = valkey.command("KEYS", "k:*")
    if not keys or any(len(value) not in (32, *range(48, 80)) for value in valkey.command("MGET", *keys)):
        raise SystemExit("the counters are not those of the bench")
    project, group = order["project"], order["group"]
    sets = ["o", f"g:{group}", f"p:{project}", f"pu:{project}:1", f"pu:{project}:*", "u:1", "u:*", "c:x"]
    gateway, credential, record = arguments[2], arguments[5], valkey.command("GET", arguments[7])
    valkey.call(
        "bench_prepare",
        json.dumps(["meta", f"w:{gateway}", f"d:w:{gateway}", f"s:{credential}", f"d:s:{credential}"]),
        json.dumps([f"p:{project}", *(f"l:{key}" for key in sets), f"d:p:{project}"]),
        json.dumps([key.decode() for key in keys]),
        len(record),
        *map(len, answer[1:]),
    )

    def bare() -> None:
        arguments[7] = f"r:bench:{uuid7()}"
        valkey.call("bare", *arguments)

    mine, theirs = interleaved(lambda: _calls_a_second(ours), lambda: _calls_a_second(bare), rounds=9)
    return Row("decision function, 7 limits", "calls/s", mine, theirs, 1 / 1.5)


def _witnessed(work: Callable[[], None]) -> tuple[list[Any], list[Any]]:
    """Return the arguments and the answer of the function that is called."""
    from portal.decision import valkey

    seen: list[tuple[list[Any], list[Any]]] = []
    real = valkey.call

    def witness(function: str, *arguments: Any) -> list[Any]:
        answer = real(function, *arguments)
        if function == "authorize" and answer[0] == b"ok":
            seen.append((list(arguments), answer))
        return answer

    valkey.call = witness
    try:
        work()
    finally:
        valkey.call = real
    return seen[-1]


def _calls_a_second(work: Callable[[], None], number: int = 1000) -> float:
    from portal.decision import valkey

    valkey.command("CONFIG", "RESETSTAT")
    for _ in range(number):
        work()
    found = re.search(
        r"cmdstat_fcall:calls=(\d+),usec=(\d+)", valkey.command("INFO", "commandstats").decode()
    )
    assert found
    return int(found[1]) / int(found[2]) * 1_000_000

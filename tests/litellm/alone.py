"""Runs inside LiteLLM's environment, where the portal is not installed: calls functions of the adapter.

Reads a JSON list of `[name, arguments]` and writes the list of answers. With LLM_PORTAL_URL set, a call that lasts is
open until its reservation is no longer about to expire.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import time
from typing import Any


def main() -> None:
    spec = importlib.util.spec_from_file_location("llm_portal", sys.argv[1])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert module.hooks is again.hooks, "LiteLLM loads the file twice; the two must be one"
    for name in ("django", "celery", "portal"):
        assert name not in sys.modules
        assert importlib.util.find_spec(name) is None, f"{name} is installed here"
    answers = [
        passing(module, *arguments) if name == "passing" else getattr(module, name)(*arguments)
        for name, arguments in json.load(sys.stdin)
    ]
    if "LLM_PORTAL_URL" in os.environ:
        answers.append(last(module))
    sys.stdout.write(json.dumps(answers) + "\n")


def passing(module: Any, mode: str, age: int | None, models: list[str]) -> list[bool]:
    """Return which calls go on while nobody can decide: admitted so many seconds ago, a dollar each, up to 2.50."""
    adapter = module.hooks.adapter
    adapter.begin()
    policy = {"failure_policy": {"mode": mode, "amount": "2.5"}, "reserved": "1"}
    adapter._learn("small", policy)
    if age is not None:
        adapter.known[hashlib.sha256(b"secret").digest()] = time.monotonic() - age
    return [adapter._may_pass("secret", model) for model in models]


def last(module: Any) -> float:
    """Return by how many seconds the reservation of a lasting call has been extended."""
    expires = time.time() + 100
    call = module.Call("mark", "key", "secret", "", "request")
    call.is_admitted, call.reservation_id, call.expires = True, "reservation", expires
    module.hooks.adapter.calls["mark"] = call
    deadline = time.monotonic() + 20
    while call.expires == expires and time.monotonic() < deadline:
        time.sleep(0.05)
    return float(call.expires - expires)


if __name__ == "__main__":
    main()

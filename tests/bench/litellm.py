"""One worker of a real LiteLLM proxy with a mocked model: how many calls it answers, and what our adapter costs it."""

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import psutil

from tests.bench.load import answers_a_second, call
from tests.bench.row import Row, interleaved
from tests.litellm import environment
from tests.litellm.processes import MASTER_KEY, Proxy
from tests.web_processes import WebProcesses

_CONFIG = """
model_list:
  - model_name: bench
    litellm_params: {{model: openai/bench, api_base: 'http://127.0.0.1:9', api_key: none, mock_response: Hello}}
{more}
general_settings:
  master_key: {master}
{auth}
"""
_CALL = {"model": "bench", "max_tokens": 200, "messages": [{"role": "user", "content": "Tell me of limits."}]}


def rows(order: Mapping[str, str]) -> list[Row]:
    """Measure two proxies in turns, one with the adapter and one without; and the portal by itself."""
    environment.make()
    os.environ["PORTAL_BENCH"] = json.dumps(dict(order))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        web = WebProcesses(folder / "web.log").start()
        stack.callback(web.kill)
        with_adapter = _CONFIG.format(
            more="litellm_settings:\n  callbacks: [llm_portal.hooks]",
            auth="  custom_auth: llm_portal.user_api_key_auth",
            master=MASTER_KEY,
        )
        without = _CONFIG.format(more="", auth="", master=MASTER_KEY)
        proxies = []
        for name, config in (("with", with_adapter), ("without", without)):
            proxy = Proxy(folder / name, web.url, order["gateway"], config)
            proxy.start()
            stack.callback(proxy.stop)
            proxies.append(proxy)
        for proxy in proxies:
            proxy.ready()
        ours, bare = proxies
        cost, bare_cost = interleaved(
            lambda: _cpu(ours, order["credential"]), lambda: _cpu(bare, MASTER_KEY), rounds=9
        )
        portal, worker = interleaved(
            lambda: answers_a_second(web.port, "/gateway/v1/authorize", order["gateway"], call(order)),
            lambda: answers_a_second(bare.port, "/v1/chat/completions", MASTER_KEY, _CALL, adds_id=False),
            rounds=3,
        )
    return [
        Row("CPU of a LiteLLM worker for a call, with adapter", "µs", cost, bare_cost, 1.05, at_most=True),
        Row("authorize against one LiteLLM worker", "req/s", portal, worker, 100),
    ]


def _cpu(proxy: Proxy, secret: str) -> float:
    """Return the microseconds of CPU that the proxy spends on a call, what it does afterwards included."""
    assert proxy.process is not None
    processes = [psutil.Process(proxy.process.pid)]
    processes += processes[0].children(recursive=True)

    def spent() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    before = spent()
    made = answers_a_second(
        proxy.port, "/v1/chat/completions", secret, _CALL, seconds=2.0, connections=4, adds_id=False
    )
    return (spent() - before) / (made * 2.0) * 1_000_000

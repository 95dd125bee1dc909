"""Nothing is lost when the portal restarts, when the proxy is killed, or when they do not reach each other."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import requests

from tests.litellm.conftest import Caller, config
from tests.litellm.processes import Portal, Proxy, until
from tests.litellm.upstream import Upstream

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own_proxy(
    portal: Portal, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy that may be killed, with the policy `open`."""
    gateway = portal.ask("gateway", name="litellm-to-kill")
    directory = tmp_path_factory.mktemp("litellm") / "own"
    plain = config(upstream.url).replace(", witness.witness", "")
    made = Proxy(
        directory, portal.url, gateway["secret"], plain, LLM_PORTAL_FAILURE="open", LLM_PORTAL_TIMEOUT="1"
    )
    portal.web.ready()
    made.start()
    made.ready()
    yield made
    made.stop()


@pytest.fixture
def own_caller(portal: Portal, own_proxy: Proxy) -> Iterator[Caller]:
    made = Caller(portal, own_proxy)
    yield made
    made.client.close()


def test_a_portal_that_restarts_during_a_call_gets_its_usage(
    caller: Caller, portal: Portal, proxy: Proxy, upstream: Upstream
) -> None:
    upstream.go.clear()
    answer = caller.chat("waits", stream=True)
    lines = answer.iter_lines()
    assert next(lines)
    portal.web.end(signal.SIGKILL)
    upstream.go.set()
    assert [line for line in lines if line][-1] == b"data: [DONE]"
    until(lambda: proxy.waiting() == 1, what="usage waits on the disk")
    refused = caller.chat()
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "portal_unavailable"
    assert refused.headers["Retry-After"] == "1"
    portal.web.start()
    portal.web.ready()
    (row,) = until(caller.usage, what="usage is booked")
    assert (row["status"], row["input_tokens"], row["output_tokens"]) == ("ok", 100, 20)
    assert row["has_reservation"]
    until(lambda: proxy.waiting() == 0, what="the spool is empty")
    # What was authorized without an answer while the portal was away holds nothing.
    until(lambda: caller.held() == 0, what="nothing is held")


def test_a_proxy_that_is_killed_reports_when_it_is_back(
    own_caller: Caller, portal: Portal, own_proxy: Proxy, upstream: Upstream
) -> None:
    assert own_caller.chat().status_code == 200
    until(lambda: len(own_caller.usage()) == 1, what="usage is booked")
    portal.web.end()
    # With the policy open, who was admitted before goes on.
    for _ in range(3):
        assert own_caller.chat().status_code == 200
    until(lambda: own_proxy.waiting() == 3, what="usage waits on the disk")
    own_proxy.end(signal.SIGKILL)
    assert own_proxy.waiting() == 3
    spool = next(path for path in own_proxy.spool.glob("*.jsonl"))
    with spool.open("a") as file:
        file.write('{"request_id": "torn by the cra')
    # What the portal will never take does not hold up the rest.
    bad = '{"request_id": "x", "model": "good", "occurred_at": "2020-01-01T00:00:00Z", "status": "ok"}'
    (own_proxy.spool / "0-left-behind.jsonl").write_text(f"{bad}\n")
    portal.web.start()
    portal.web.ready()
    own_proxy.start()
    own_proxy.ready()
    rows = until(lambda: len(rows := own_caller.usage()) == 4 and rows, what="usage is booked")
    assert [(row["input_tokens"], row["output_tokens"]) for row in rows] == [(100, 20)] * 4
    assert [row["has_reservation"] for row in rows] == [True, False, False, False]
    until(lambda: own_proxy.waiting() == 0, what="the spool is empty")
    assert '"invalid"' in (own_proxy.spool / "rejected.jsonl").read_text()
    assert own_caller.held() == 0


def test_a_stranger_does_not_pass_while_the_portal_is_away(own_proxy: Proxy, portal: Portal) -> None:
    unseen = Caller(portal, own_proxy)
    portal.web.end()
    try:
        answer = unseen.chat()
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "portal_unavailable"
    finally:
        portal.web.start()
        portal.web.ready()
        unseen.client.close()


def test_a_proxy_that_is_stopped_loses_nothing(own_caller: Caller, own_proxy: Proxy) -> None:
    for _ in range(5):
        assert own_caller.chat().status_code == 200
    own_proxy.end(signal.SIGTERM)
    assert len(own_caller.usage()) + own_proxy.waiting() == 5


def test_the_witness_saw_no_secret(caller: Caller, proxy: Proxy) -> None:
    """Neither LiteLLM's log nor what it tells other loggers holds a token, also when it is refused."""
    assert caller.chat().status_code == 200
    assert caller.chat(stream=True).content
    assert caller.client.get(f"{caller.url}/v1/models").status_code == 200
    assert caller.client.get(f"{caller.url}/model/info").status_code == 403
    headers = {"x-api-key": caller.secret}
    body = {"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
    assert (
        requests.post(f"{caller.url}/v1/messages", json=body, headers=headers, timeout=30).status_code == 200
    )
    caller.portal.ask("revoke", key_id=caller.key_id)
    assert caller.chat().status_code == 401
    assert caller.client.get(f"{caller.url}/v1/models").status_code == 401
    written = proxy.log.read_text() + (proxy.directory / "witness.log").read_text()
    assert caller.key_id in written
    assert caller.secret not in written
    assert caller.secret[-38:] not in written
    assert "llmgw_gw_" not in written

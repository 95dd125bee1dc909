"""Web processes end without losing a request: not ready first, then nothing new, then what is in flight."""

import http.client
import json
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portal.decision import jobs
from portal.lib.uuid7 import uuid7
from portal.spend.models import LedgerRow
from tests.gateway.conftest import Scene
from tests.web_processes import WebProcesses

pytestmark = pytest.mark.slow


@pytest.fixture
def pair(scene: Scene, tmp_path: Path) -> Iterator[list[WebProcesses]]:
    made = [WebProcesses(tmp_path / f"web{n}.log", workers=1, drain_seconds=1) for n in range(2)]
    try:
        for web in made:
            web.start()
        yield made
    finally:
        for web in made:
            web.stop()


def until(condition: Callable[[], object], within: float = 90.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Balancer:
    """Knows which processes are ready, as it last asked; a client keeps one connection to each."""

    def __init__(self, webs: list[WebProcesses]) -> None:
        self.webs, self.ready, self.ends = webs, list(webs), threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self) -> None:
        while not self.ends.wait(0.1):
            self.ready = [web for web in self.webs if web.is_ready()]

    def close(self) -> None:
        self.ends.set()
        self.thread.join()


def client(number: int, balancer: Balancer, scene: Scene, seen: Counter[Any]) -> None:
    """Authorize and report until the end; count what is answered."""
    kept: dict[int, http.client.HTTPConnection] = {}
    headers = {"Authorization": f"Bearer {scene.client.secret}", "Content-Type": "application/json"}

    def post(path: str, body: object) -> Any:
        ready = balancer.ready
        for port in kept.keys() - {web.port for web in ready}:
            kept.pop(port).close()
        web = ready[next_turn() % len(ready)]
        connection = kept.setdefault(web.port, http.client.HTTPConnection("127.0.0.1", web.port, timeout=30))
        connection.request("POST", f"/gateway/v1/{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        seen[path, answer.status] += 1
        return json.loads(content)

    turn = [number]

    def next_turn() -> int:
        turn[0] += 1
        return turn[0]

    try:
        while not balancer.ends.is_set():
            request_id = str(uuid7())
            call = {"credential": scene.secret, "model": "small", "request_id": request_id}
            answer = post("authorize", {**call, "input_tokens": 1, "max_output_tokens": 1})
            if answer.get("decision") != "allow":
                continue
            event = {"request_id": request_id, "reservation_id": answer["reservation_id"], "model": "small"}
            event |= {"occurred_at": datetime.now(UTC).isoformat(), "input_tokens": 1, "output_tokens": 1}
            post("usage", {"events": [{**event, "status": "ok"}]})
    except Exception as error:
        seen["lost", repr(error)] += 1
    finally:
        for connection in kept.values():
            connection.close()


def test_a_rolling_restart_under_load_loses_no_request(pair: list[WebProcesses], scene: Scene) -> None:
    balancer, seen = Balancer(pair), Counter[Any]()
    clients = [threading.Thread(target=client, args=(number, balancer, scene, seen)) for number in range(6)]
    for thread in clients:
        thread.start()
    try:
        for web in pair:
            assert web.process
            before = sum(seen.values())
            web.process.send_signal(signal.SIGTERM)
            assert web.process.wait(30) == 0
            web.start()
            until(lambda: len(balancer.ready) == 2)
            assert sum(seen.values()) > before
    finally:
        balancer.close()
        for thread in clients:
            thread.join()

    assert set(seen) <= {("authorize", 200), ("authorize", 429), ("usage", 200)}, seen
    jobs.move_usage()
    assert LedgerRow.objects.count() == seen["usage", 200]
    assert seen["usage", 200] > 50


def test_what_is_in_flight_is_finished_and_readyz_is_off_first(
    pair: list[WebProcesses], scene: Scene
) -> None:
    web = pair[0]
    assert web.process
    body = json.dumps(scene.call()).encode()
    slow = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    slow.putrequest("POST", "/gateway/v1/authorize")
    slow.putheader("Authorization", f"Bearer {scene.client.secret}")
    slow.putheader("Content-Length", str(len(body)))
    slow.endheaders(body[:10])

    web.process.send_signal(signal.SIGTERM)
    until(lambda: not web.is_ready())
    probe = http.client.HTTPConnection("127.0.0.1", web.port, timeout=5)
    probe.request("GET", "/readyz")
    answer = probe.getresponse()
    assert (answer.status, json.loads(answer.read())) == (503, {"status": "draining"})
    assert answer.headers["Connection"] == "close"

    def is_closed() -> bool:
        try:
            socket.create_connection(("127.0.0.1", web.port), timeout=5).close()
        except OSError:
            return True
        return False

    until(is_closed)
    slow.send(body[10:])
    assert slow.getresponse().status == 200
    for connection in (slow, probe):
        connection.close()
    assert web.process.wait(30) == 0

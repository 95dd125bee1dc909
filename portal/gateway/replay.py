"""Send a recorded trace of calls through the Gateway API, as a gateway would: authorize, then report usage.

A run has a name. Its request ids are made from it, so a run that was cut off is resumed by its name: what has been
booked stays booked once, and calls that were under way are reported as admitted.
"""

import asyncio
import csv
import json
import random
import re
import ssl
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from portal.lib.errors import RuleBroken, Unavailable

_BATCH = 200  # events in one report
_REPORTERS = 2
_ANSWER_WITHIN = 30.0  # seconds for one answer
_PATIENCE = 300.0  # seconds of asking the same in vain
_KNOWN_WITHIN = 20.0  # a new secret reaches the decision at once, or with the outbox a little later
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Row:
    """One call of the trace; ``after`` is in seconds since its first call."""

    number: int
    after: float
    input_tokens: int
    output_tokens: int


def checked_run(run: str) -> str:
    """Return the name of a run, or raise RuleBroken saying how one looks."""
    if not _RUN.fullmatch(run):
        raise RuleBroken("Name the run with letters, digits, '.', '_' and '-', at most 64.", field="run")
    return run


def new_run() -> str:
    """Return a name for a new run."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{random.randrange(16**4):04x}"  # noqa: S311  a name, no secret


def read_trace(path: Path) -> Iterator[Row]:
    """Read a CSV of ``TIMESTAMP,ContextTokens,GeneratedTokens``; raise RuleBroken naming the line that is wrong."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.DictReader(file)
        if not {"TIMESTAMP", "ContextTokens", "GeneratedTokens"} <= set(lines.fieldnames or ()):
            raise RuleBroken(f"{path.name} needs the columns TIMESTAMP, ContextTokens and GeneratedTokens.")
        first: datetime | None = None
        for number, line in enumerate(lines, 1):
            try:
                # Seven fractional digits are more than a datetime holds.
                at = datetime.fromisoformat(line["TIMESTAMP"][:26])
                row = (int(line["ContextTokens"]), int(line["GeneratedTokens"]))
            except (TypeError, ValueError) as error:
                raise RuleBroken(f"{path.name}, call {number}: {error}") from error
            if not all(0 <= tokens <= 10**9 for tokens in row):
                raise RuleBroken(f"{path.name}, call {number}: tokens are 0 to 10^9.")
            first = first or at
            yield Row(number, (at - first).total_seconds(), *row)


class Failed(Exception):
    """The portal answered in a way that trying again does not mend."""


@dataclass
class Outcome:
    """What became of the calls so far."""

    calls: int = 0
    admitted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    seconds: float = 0.0
    is_complete: bool = False


class _Connection:
    """One keep-alive connection: a request and its answer at a time."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self.host, self.is_tls = parts.hostname or "127.0.0.1", parts.scheme == "https"
        self.port = parts.port or (443 if self.is_tls else 80)
        self.path = parts.path.rstrip("/")
        fixed = {"Host": parts.netloc, "Content-Type": "application/json", **headers}
        self.head = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and document; raise OSError, EOFError or TimeoutError when there is no answer."""
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                return await self._post(path, json.dumps(document).encode())
        except BaseException:
            self.close()
            raise

    async def _post(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if self.streams is None:
            tls = ssl.create_default_context() if self.is_tls else None
            self.streams = await asyncio.open_connection(self.host, self.port, ssl=tls)
        reader, writer = self.streams
        head = f"POST {self.path}{path} HTTP/1.1\r\n{self.head}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        answer = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self.close()
        is_json = "json" in headers.get("content-type", "")
        return int(status_line.split()[1]), json.loads(answer) if is_json else {}

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


class Replay:
    """Sends the calls of a trace with so many clients at a time, each acknowledged before its next."""

    def __init__(
        self,
        *,
        url: str,
        gateway: str,
        credential: str,
        model: str,
        run: str,
        clients: int,
        speed: float | None,
        booked: Iterable[str] = (),
    ) -> None:
        """``gateway`` and ``credential`` are secrets; ``booked`` are request ids an earlier gateway has settled."""
        self.url, self.headers = url, {"Authorization": f"Bearer {gateway}"}
        self.credential, self.model, self.run = credential, model, run
        self.clients, self.speed, self.booked = clients, speed, set(booked)
        self.outcome = Outcome()
        self.is_stopping = False
        self._pending: deque[tuple[dict[str, Any], asyncio.Future[None]]] = deque()

    def stop(self) -> None:
        """Begin no further call; those under way are reported."""
        self.is_stopping = True

    async def send(self, rows: Iterable[Row]) -> Outcome:
        """Send the calls; return what became of them. Raise Failed or Unavailable when it makes no sense to go on."""
        self._some = asyncio.Event()
        self._started = time.monotonic()
        shared = iter(rows)
        reporters = [asyncio.create_task(self._reporter()) for _ in range(_REPORTERS)]
        clients = [asyncio.create_task(self._client(shared)) for _ in range(self.clients)]
        try:
            # A reporter only ends with an error, and then so does the replay.
            pending: set[asyncio.Task[None]] = {*clients, *reporters}
            while not all(client.done() for client in clients):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            self.outcome.is_complete = not self.is_stopping
        finally:
            for task in (*clients, *reporters):
                task.cancel()
            await asyncio.gather(*clients, *reporters, return_exceptions=True)
            self.outcome.seconds = time.monotonic() - self._started
        return self.outcome

    async def _client(self, rows: Iterator[Row]) -> None:
        connection = _Connection(self.url, self.headers)
        try:
            for row in rows:
                if self.speed is not None:
                    await self._wait_until(self._started + row.after / self.speed)
                if self.is_stopping:
                    return
                self.outcome.calls += 1
                if f"{self.run}-{row.number}" in self.booked:
                    self.outcome.admitted += 1
                else:
                    await self._call(connection, row)
        finally:
            connection.close()

    async def _wait_until(self, moment: float) -> None:
        while not self.is_stopping and (left := moment - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.5))

    async def _call(self, connection: _Connection, row: Row) -> None:
        request_id = f"{self.run}-{row.number}"
        status, answer = await self._ask(
            connection,
            "/gateway/v1/authorize",
            {
                "credential": self.credential,
                "model": self.model,
                "request_id": request_id,
                "input_tokens": row.input_tokens,
                "max_output_tokens": row.output_tokens,
            },
        )
        code = answer.get("code", "")
        event = {
            "request_id": request_id,
            "model": self.model,
            "occurred_at": datetime.now(UTC).isoformat(),
            "input_tokens": row.input_tokens,
            "output_tokens": row.output_tokens,
            "status": "ok",
        }
        if status == 200:
            event["reservation_id"] = answer["reservation_id"]
        elif code != "request_id_reused":
            if status not in (403, 429):
                raise Failed(f"authorize answered {status} {code}: {answer.get('detail', '')}")
            self.outcome.refused[code] += 1
            return
        # A request id that was used: an earlier attempt had it admitted, and its usage finds that by the request id.
        acknowledged = asyncio.get_running_loop().create_future()
        self._pending.append((event, acknowledged))
        self._some.set()
        await acknowledged

    async def _reporter(self) -> None:
        connection = _Connection(self.url, self.headers)
        try:
            while True:
                await self._some.wait()
                batch = [self._pending.popleft() for _ in range(min(_BATCH, len(self._pending)))]
                if not self._pending:
                    self._some.clear()
                if batch:
                    await self._report(connection, batch)
        finally:
            connection.close()

    async def _report(
        self, connection: _Connection, batch: list[tuple[dict[str, Any], "asyncio.Future[None]"]]
    ) -> None:
        status, answer = await self._ask(
            connection, "/gateway/v1/usage", {"events": [event for event, _ in batch]}
        )
        if status != 200:
            raise Failed(f"usage answered {status} {answer.get('code', '')}: {answer.get('detail', '')}")
        self.outcome.admitted += answer["accepted"] + answer["duplicates"]
        self.outcome.rejected.update(item["code"] for item in answer["rejected"])
        for _, acknowledged in batch:
            if not acknowledged.done():
                acknowledged.set_result(None)

    async def _ask(
        self, connection: _Connection, path: str, document: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        """Ask until there is an answer other than "try again"."""
        begun, pause = time.monotonic(), 0.02
        while True:
            try:
                status, answer = await connection.post(path, document)
            except (OSError, EOFError, asyncio.LimitOverrunError, ValueError):
                status = 0
            waited = time.monotonic() - begun
            if 0 < status < 500 and not (status == 401 and waited < _KNOWN_WITHIN):
                return status, answer
            if waited > _PATIENCE:
                raise Unavailable(f"{self.url} has given no answer to {path} for {_PATIENCE:.0f} s")
            self.outcome.retries += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, 1.0)

"""LiteLLM governed by the portal: every model call is authorized before it is made and accounted for after it.

This file stands alone: copy it beside LiteLLM's ``config.yaml`` as ``llm_portal.py`` and name it there::

    general_settings:
      custom_auth: llm_portal.user_api_key_auth
    litellm_settings:
      callbacks: [llm_portal.hooks]    # first in the list, so that nothing runs for a call that is refused

Environment: ``LLM_PORTAL_URL``, ``LLM_PORTAL_GATEWAY_SECRET`` and, optional, ``LLM_PORTAL_SPOOL`` (a directory for
usage not yet acknowledged), ``LLM_PORTAL_FAILURE`` (``closed``, the default, or ``open``),
``LLM_PORTAL_TRUSTED_PROXIES`` (how many proxies stand before LiteLLM), ``LLM_PORTAL_TIMEOUT`` (seconds, 3).

LiteLLM loads the file once for each setting, so what the two share is kept in one place of the process.
Written for and tested with LiteLLM 1.106.
"""

import asyncio
import atexit
import binascii
import fcntl
import hashlib
import hmac
import http.client
import json
import logging
import os
import random
import re
import ssl
import string
import sys
import tempfile
import threading
import time
import types
import urllib.parse
import uuid
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import aiohttp
import litellm
from fastapi import Request
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

log = logging.getLogger("llm_portal")

# Key under which a call's request id travels through LiteLLM; a client that sends it is refused by LiteLLM itself.
MARK, HOLDER = "llm_portal_request", "llm_portal_credential"
# Routes whose usage LiteLLM reports in model tokens. What is not listed here could not be accounted for.
METERED = re.compile(
    r"(?:/v1|/openai/v1|/engines/.+|/openai/deployments/.+)?/(?:chat/completions|completions|embeddings|responses|messages)"
)
FREE = re.compile(
    r"(?:/v1)?/models(?:/.+)?|/utils/token_counter|/v1/messages/count_tokens|(?:/openai)?(?:/v1)?/responses/input_tokens"
)
CALL_TYPES = ("acompletion", "atext_completion", "aembedding", "aresponses", "anthropic_messages")
TOKEN = re.compile(r"llmgw_(?:ut|ak)_([0-9A-Za-z]{12})_[0-9A-Za-z]{38}")
TEXT_PARTS = frozenset(
    """text input_text output_text summary_text refusal message function function_call function_call_output custom
    custom_tool_call custom_tool_call_output tool_use tool_result thinking redacted_thinking reasoning""".split()  # noqa: SIM905
)
CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
INPUTS = (
    "messages",
    "input",
    "prompt",
    "system",
    "instructions",
    "tools",
    "functions",
    "response_format",
    "text",
)
UNSEEN_INPUT = ("previous_response_id", "conversation", "prompt_id", "prompt_variables", "container")
BATCH, SPOOL_BYTES, SEGMENT_BYTES = 500, 64 << 20, 1 << 20
# Seconds in which LiteLLM's own account, logged in the background, replaces ours: of a provider's failure, of the rest.
GRACE_FAILED, GRACE = 2.0, 30.0
EXTEND_BEFORE = 300.0  # seconds before a reservation would expire
LONGEST_CALL = 2 * 3600.0  # a call is not extended beyond
GATHER = 0.1  # seconds in which usage becomes a batch
UNSENT = ("ConnectError", "ConnectTimeout", "ClientConnectorError", "ConnectionRefusedError", "gaierror")


class Refusal(ProxyException):  # type: ignore[misc, unused-ignore]
    """What the client gets, in OpenAI's shape: ``code`` is the portal's reason, ``problem`` its whole document."""

    def __init__(
        self, status: int, problem: Mapping[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        self.reason = str(problem.get("code") or "refused")
        self.problem = dict(problem)
        message = str(problem.get("detail") or problem.get("title") or self.reason)
        super().__init__(
            message,
            self.reason,
            None,
            status,
            headers or {},
            provider_specific_fields={"problem": self.problem},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the object under ``error``."""
        return {
            "message": self.message,
            "type": self.type,
            "param": None,
            "code": self.reason,
            "problem": self.problem,
        }


def refusal(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Refusal:
    """Return a refusal of our own, in the form of the portal's."""
    return Refusal(status, {"status": status, "code": code, "detail": detail}, headers)


@dataclass(frozen=True)
class Settings:
    """What the environment says; ``url`` is empty when the adapter is not configured."""

    url: str
    secret: str
    spool: Path
    is_open: bool | None  # None: as the portal last said
    proxies: int
    timeout: float

    @classmethod
    def read(cls) -> "Settings":
        """Read the environment; raise ValueError for a value that has no meaning."""
        get = os.environ.get
        failure = get("LLM_PORTAL_FAILURE", "").strip().lower()
        if failure not in ("", "closed", "open"):
            raise ValueError("LLM_PORTAL_FAILURE is either closed or open")
        url, secret = (
            get("LLM_PORTAL_URL", "").strip().rstrip("/"),
            get("LLM_PORTAL_GATEWAY_SECRET", "").strip(),
        )
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("LLM_PORTAL_URL must begin with http:// or https://")
        chosen = get("LLM_PORTAL_SPOOL")
        here = Path(__file__).resolve().parent
        base = here if os.access(here, os.W_OK) else Path(tempfile.gettempdir())
        spool = Path(chosen) if chosen else base / "llm-portal-spool"
        proxies, timeout = int(get("LLM_PORTAL_TRUSTED_PROXIES") or 0), float(get("LLM_PORTAL_TIMEOUT") or 3)
        return cls(
            url if secret else "", secret, spool, failure == "open" if failure else None, proxies, timeout
        )


@dataclass
class Call:
    """One model call, from its authentication to its account."""

    mark: str
    key_id: str
    secret: str
    client_ip: str
    request_id: str = ""
    began: float = field(default_factory=time.monotonic)
    model: str = ""
    is_admitted: bool = False
    reservation_id: str = ""
    expires: float = 0.0
    sent: int = 0
    is_done: bool = False
    reported: set[str] = field(default_factory=set)
    chunks: int = 0
    # A report that holds unless a better one comes until then.
    due: float = 0.0
    provisional: dict[str, Any] | None = None
    texts: Any = None


def uuid7() -> str:
    """Return a new UUID version 7: it sorts by time, and no client can choose it."""
    value = int.from_bytes(os.urandom(16), "big") & ((1 << 80) - 1) | (time.time_ns() // 1_000_000) << 80
    return str(uuid.UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62))


def parse_token(text: str) -> str:
    """Return the key id of what has the form and the checksum of a portal's credential, else an empty string."""
    match = TOKEN.fullmatch(text)
    if match is None:
        return ""
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    value, check = binascii.crc32(text[:-6].encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        check = alphabet[digit] + check
    return match[1] if check == text[-6:] else ""


def whole(value: Any) -> int | None:
    """Return a number of 0 to 10^9 that a client may have sent as 5, 5.0 or "5", else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= 10**9 else None


# How large a call may become


def _parts(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for key in ("content", "output", "summary"):
            yield from _parts(value.get(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item)


def _is_text(data: Mapping[str, Any]) -> bool:
    if any(data.get(name) for name in UNSEEN_INPUT) or isinstance(data.get("prompt"), Mapping):
        return False
    return all(
        part.get("type") is None or str(part["type"]) in TEXT_PARTS
        for name in ("messages", "input", "system", "tools")
        for part in _parts(data.get(name))
    )


def _token_ids(value: Any) -> int | None:
    """Return how many token ids a prompt consists of, when it consists of nothing else."""
    if not isinstance(value, list) or not value:
        return None
    if all(type(item) is int for item in value):
        return len(value)
    counts = [_token_ids(item) for item in value]
    return None if None in counts else sum(count or 0 for count in counts)


def amounts(data: Mapping[str, Any], call_type: str) -> dict[str, Any]:
    """Return the fields of ``authorize`` that say how large the call can become.

    Input counts as bytes of text, of which a token has at least one. Where the request refers to what it does not
    contain (an image, a file, an earlier response), its size is unknown and left to the portal's context window.
    """
    found: dict[str, Any] = {}
    prompt = data.get("input" if call_type == "aembedding" else "prompt")
    if call_type in ("aembedding", "atext_completion") and (ids := _token_ids(prompt)) is not None:
        found["input_tokens"] = min(ids, 10**9)
    elif _is_text(data):
        text = json.dumps(
            [data.get(name) for name in INPUTS if data.get(name)], ensure_ascii=False, default=str
        )
        found["input_bytes"] = min(len(text.encode("utf-8", "replace")), 10**9)
    if call_type == "aembedding":
        return found | {"max_output_tokens": 0}
    # A provider may heed any of them, so the largest counts; one that LiteLLM is told to drop does not.
    caps = [number for name in CAPS if (number := whole(data.get(name)))]
    if caps and not data.get("additional_drop_params"):
        found["max_output_tokens"] = max(caps)
    times = max(whole(data.get("n")) or 1, whole(data.get("best_of")) or 1)
    if call_type == "atext_completion" and isinstance(prompt, list) and prompt and type(prompt[0]) is not int:
        times *= len(prompt)
    if times > 1:
        found["n"] = min(times, 10**9)
    return found


def forbidden(data: Mapping[str, Any], call_type: str) -> str:
    """Return why the request cannot be accounted for, or an empty string."""
    if any(data.get(name) for name in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")):
        return "Fallbacks are set in the gateway's configuration, not in a request."
    extra = data.get("extra_body")
    if isinstance(extra, Mapping):
        hidden = [name for name in ("model", "models", "n", "best_of", *CAPS) if name in extra]
        if hidden:
            return f"Send {', '.join(hidden)} in the request itself, not in extra_body."
    if call_type == "aresponses" and data.get("background"):
        return "Responses in the background cannot be accounted for; leave out background."
    if call_type not in CALL_TYPES:
        return f"Calls of the kind {call_type} cannot be accounted for."
    return ""


# What a call used


def _get(usage: Any, *path: str) -> int:
    for name in path:
        usage = usage.get(name) if isinstance(usage, Mapping) else getattr(usage, name, None)
        if usage is None:
            return 0
    return whole(usage) or 0


def tokens(usage: Any) -> dict[str, int]:
    """Return the token fields of a usage event from any shape of usage that LiteLLM hands on.

    With us parts belong to their whole. Anthropic counts cache reads and writes beside its ``input_tokens``, and some
    providers count reasoning beside ``completion_tokens``: there the parts are added.
    """
    details = ("prompt_tokens_details", "input_tokens_details")
    cached = max(
        *(_get(usage, name, "cached_tokens") for name in details),
        _get(usage, "cache_read_input_tokens"),
        _get(usage, "prompt_cache_hit_tokens"),
    )
    written = max(
        *(
            _get(usage, name, part)
            for name in details
            for part in ("cache_write_tokens", "cache_creation_tokens")
        ),
        _get(usage, "cache_creation_input_tokens"),
    )
    reasoning = max(
        _get(usage, name, "reasoning_tokens")
        for name in ("completion_tokens_details", "output_tokens_details")
    )
    total, parts = _get(usage, "total_tokens"), cached + written
    if prompt := _get(usage, "prompt_tokens"):
        output = _get(usage, "completion_tokens")
        is_beside = parts > prompt or (parts > 0 and total == prompt + parts + output)
    else:
        prompt, output = _get(usage, "input_tokens"), _get(usage, "output_tokens")
        is_beside = any(_get(usage, f"cache_{part}_input_tokens") for part in ("read", "creation"))
    if is_beside:
        prompt += parts
    if reasoning > output or (reasoning and total == prompt + output + reasoning):
        output += reasoning
    return {
        "input_tokens": prompt,
        "output_tokens": output,
        "cached_input_tokens": cached,
        "cache_write_tokens": written,
        "reasoning_tokens": reasoning,
    }


def count_input(model: str, texts: Any) -> int:
    """Count the input of a call that reached a provider and got no count from it."""
    if texts is None:
        return 0
    try:
        if isinstance(texts, list) and texts and isinstance(texts[0], Mapping) and "role" in texts[0]:
            return int(litellm.token_counter(model=model, messages=texts))
        if (ids := _token_ids(texts)) is not None:
            return ids
        text = texts if isinstance(texts, str) else json.dumps(texts, ensure_ascii=False, default=str)
        return int(litellm.token_counter(model=model, text=text))
    except Exception:  # an estimate is better than nothing, whatever the counter cannot read
        return len(json.dumps(texts, default=str)) // 4


def money(value: Any) -> str | None:
    """Return LiteLLM's own figure as a decimal string with up to nine fractional digits."""
    try:
        cost = Decimal(repr(float(value))).quantize(Decimal("1e-9"), ROUND_HALF_EVEN)
    except (TypeError, ValueError, InvalidOperation):
        return None
    return format(cost, "f") if 0 <= cost < 10**12 else None


def instant(seconds: Any = None) -> str:
    """Return an RFC 3339 instant."""
    moment = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else time.time()
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def never_sent(error: BaseException | None) -> bool:
    """Whether an attempt failed before anything reached the provider."""
    seen: set[int] = set()
    pending: deque[Any] = deque([error])
    while pending:
        current = pending.popleft()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        if type(current).__name__ in UNSENT:
            return True
        pending += (current.__cause__, current.__context__, getattr(current, "original_exception", None))
    return False


# Usage that the portal has not acknowledged


class Segment:
    """One file of records, one JSON line each, locked by the process that writes or sends it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.size = os.fstat(descriptor).st_size

    @classmethod
    def create(cls, directory: Path) -> "Segment":
        """Make a new one; nobody sees it before it is locked."""
        path = directory / f"{uuid7()}.jsonl"
        hidden = path.with_suffix(".new")
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        hidden.rename(path)
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> "Segment | None":
        """Take over what a process that is gone has left, or None while another one has it."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if not path.exists():  # its owner was done with it between our two calls
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def append(self, records: list[dict[str, Any]]) -> None:
        """Write records; when this returns they are on the disk."""
        # A line torn by a full disk must not spoil the next.
        data = (
            b"".join(b"\n" + json.dumps(record, separators=(",", ":")).encode() for record in records) + b"\n"
        )
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]
        os.fsync(self.descriptor)
        self.size += len(data)

    def read(self) -> list[dict[str, Any]]:
        """Return the records; what a crash tore is left out."""
        records = []
        for line in self.path.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                records.append(record)
        return records

    def remove(self) -> None:
        """Delete it: everything in it is acknowledged."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class Portal:
    """The portal as seen by the thread that reports: blocking, one connection for each request."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.parts = urllib.parse.urlsplit(settings.url)
        self.context = ssl.create_default_context() if self.parts.scheme == "https" else None

    def post(self, name: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and document; raise OSError or HTTPException when there is no answer."""
        host, port = self.parts.hostname or "", self.parts.port
        connection: http.client.HTTPConnection
        if self.context is not None:
            connection = http.client.HTTPSConnection(host, port, timeout=10, context=self.context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=10)
        try:
            headers = {"Authorization": f"Bearer {self.settings.secret}", "Content-Type": "application/json"}
            connection.request(
                "POST", f"{self.parts.path}/gateway/v1/{name}", json.dumps(body).encode(), headers
            )
            answer = connection.getresponse()
            raw = answer.read(1 << 20)
        finally:
            connection.close()
        try:
            document = json.loads(raw) if raw else {}
        except ValueError:
            document = {}
        return answer.status, document if isinstance(document, dict) else {}


class Reporter:
    """A thread that brings records onto the disk and from there to the portal, in order, until acknowledged.

    Records are usage events and ``{"release": reservation_id}``. Those on the disk survive the end of the process;
    the next one to use the directory sends them. Above SPOOL_BYTES new calls are refused, so that what is there is
    kept and what is admitted can always be written.
    """

    def __init__(self, settings: Settings, tick: Any) -> None:
        self.settings, self.tick = settings, tick
        self.portal = Portal(settings)
        self.wake = threading.Condition()
        self.incoming: deque[dict[str, Any]] = deque()
        self.undo: deque[tuple[float, dict[str, Any]]] = deque()
        self.closed: deque[Segment] = deque()
        self.current: Segment | None = None
        self.unsent: list[dict[str, Any]] = []
        self.retry_at = 0.0
        self.failures = 0
        self.adopted_at = 0.0
        self.is_full = False
        self.is_stopping = False
        self.thread = threading.Thread(target=self._run, name="llm-portal-usage", daemon=True)

    def add(self, record: dict[str, Any]) -> None:
        """Hand over a record; returns at once."""
        with self.wake:
            self.incoming.append(record)
            self.wake.notify()

    def stop(self) -> None:
        """Bring everything onto the disk, and to the portal if it answers now."""
        with self.wake:
            self.is_stopping = True
            self.wake.notify()
        self.thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self.wake:
                if not self.incoming and not self.is_stopping:
                    self.wake.wait(timeout=self._pause())
                is_last = self.is_stopping
            if not is_last:
                time.sleep(GATHER)
            try:
                self._write()
                self.tick(is_last)
                self._write()
                self._adopt()
                if is_last or time.monotonic() >= self.retry_at:
                    self._send()
                    self._undo()
                    self.failures = 0
            except (OSError, http.client.HTTPException) as error:
                self._back_off(str(error) or type(error).__name__)
            except Exception:
                # Without this thread no usage is reported until the proxy starts again.
                log.exception("reporting usage failed; it will be tried again")
                self._back_off("")
            if is_last:
                return

    def _pause(self) -> float:
        waiting = self.unsent or self.closed or self.undo
        return max(0.05, self.retry_at - time.monotonic()) if waiting and self.failures else 1.0

    def _back_off(self, why: str) -> None:
        self.failures += 1
        pause = min(10.0, 0.25 * 2 ** min(self.failures, 6)) * random.uniform(0.75, 1.25)  # noqa: S311 - to spread load
        self.retry_at = time.monotonic() + pause
        if why and (self.failures in (1, 5) or self.failures % 50 == 0):
            log.warning("the portal does not take usage (%s); it is kept in %s", why, self.settings.spool)

    def _write(self) -> None:
        """Bring what has come in onto the disk, before anything else is tried."""
        with self.wake:
            records = list(self.incoming)
        if not records:
            return
        try:
            if self.current is None:
                self.settings.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.current = Segment.create(self.settings.spool)
            self.current.append(records)
        except (
            OSError
        ) as error:  # it stays in memory and is sent from there; what is new is refused meanwhile
            log.error("usage cannot be written to %s: %s", self.settings.spool, error)
            self.is_full = True
        with self.wake:
            for _ in records:
                self.incoming.popleft()
        self.unsent += records
        if self.current is not None and self.current.size > SEGMENT_BYTES and not self.is_full:
            self.closed.append(self.current)
            self.current, self.unsent = None, []

    def _adopt(self) -> None:
        """Look for what other processes have left, and how much there is."""
        now = time.monotonic()
        if self.adopted_at and now < self.adopted_at + 30:
            return
        self.adopted_at = now
        mine = {segment.path for segment in [*self.closed, *([self.current] if self.current else [])]}
        total = 0
        for path in sorted(self.settings.spool.glob("*.jsonl")):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
            if path not in mine and path.name != "rejected.jsonl" and (found := Segment.adopt(path)):
                self.closed.append(found)
        if self.is_full != (total > SPOOL_BYTES):
            self.is_full = not self.is_full
            log.error(
                "the spool %s is %s",
                self.settings.spool,
                "full: new calls are refused" if self.is_full else "usable again",
            )

    def _send(self) -> None:
        while self.closed:
            self._deliver(self.closed[0].read())
            self.closed.popleft().remove()
        if self.unsent:
            self._deliver(self.unsent)
            self.unsent = []
            if self.current is not None:
                os.ftruncate(self.current.descriptor, 0)
                self.current.size = 0

    def _deliver(self, records: list[dict[str, Any]]) -> None:
        events = [record for record in records if "release" not in record]
        for start in range(0, len(events), BATCH):
            self._report(events[start : start + BATCH])
        for record in records:
            if "release" in record:
                self._expect(
                    *self.portal.post("release", {"reservation_id": record["release"]}), also=(404, 409, 422)
                )

    def _report(self, events: list[dict[str, Any]]) -> None:
        status, document = self.portal.post("usage", {"events": events})
        if status in (400, 413, 422):  # whatever it dislikes must not hold up the rest
            if len(events) > 1:
                middle = len(events) // 2
                self._report(events[:middle])
                self._report(events[middle:])
            else:
                self._set_aside(events[0], document)
            return
        self._expect(status, document)
        for item in document.get("rejected") or ():
            self._set_aside(events[item["index"]], item)

    def _expect(self, status: int, document: Mapping[str, Any], also: tuple[int, ...] = ()) -> None:
        if status not in (200, 204, *also):
            raise OSError(f"HTTP {status} {document.get('code', '')}")

    def _set_aside(self, event: dict[str, Any], why: Mapping[str, Any]) -> None:
        """Keep an event that the portal will never take where a person finds it."""
        log.error(
            "the portal rejected usage of %s: %s %s", event["request_id"], why.get("code"), why.get("detail")
        )
        with (self.settings.spool / "rejected.jsonl").open("a") as file:
            if file.tell() < SPOOL_BYTES:
                file.write(json.dumps({"why": why, "event": event}) + "\n")

    def _undo(self) -> None:
        """Give back what authorizations without an answer may have reserved."""
        while self.undo:
            until, body = self.undo[0]
            if time.monotonic() < until:
                status, document = self.portal.post("authorize", body)
                if status == 200:
                    self._expect(*self.portal.post("release", {"reservation_id": document["reservation_id"]}))
                elif status >= 500:
                    raise OSError(f"HTTP {status}")
            self.undo.popleft()

    def undo_later(self, body: dict[str, Any]) -> None:
        """Note an authorization that got no answer; its secret stays in memory alone."""
        with self.wake:
            if len(self.undo) < 10_000:
                self.undo.append((time.monotonic() + 900, body))
            self.wake.notify()


class Adapter:
    """What the two halves of the adapter share in a process: open calls, the connection, the reporter."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.settings = Settings("", "", Path(), False, 0, 3.0)
        self.is_misconfigured = ""
        try:
            self.settings = Settings.read()
        except ValueError as error:
            self.is_misconfigured = str(error)
        if not self.settings.url:
            self.is_misconfigured = (
                self.is_misconfigured or "LLM_PORTAL_URL and LLM_PORTAL_GATEWAY_SECRET are not set"
            )
        if self.is_misconfigured:
            log.error("%s; every model call is refused", self.is_misconfigured)
        self.hooks = Hooks(self)
        self.begin()
        atexit.register(self.end)
        os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """Start afresh in this process."""
        self.lock = threading.Lock()
        self.calls: OrderedDict[str, Call] = OrderedDict()
        self.known: OrderedDict[bytes, float] = OrderedDict()
        self.policy = (False, Decimal(0))
        self.held: OrderedDict[str, Decimal] = OrderedDict()
        self.passed = Decimal(0)
        self.session: aiohttp.ClientSession | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.reporter = Reporter(self.settings, self.tick)
        if not self.is_misconfigured:
            self.reporter.thread.start()

    def end(self) -> None:
        """Bring what is known onto the disk."""
        if self.reporter.thread.is_alive():
            self.reporter.stop()

    # Before the call

    async def authenticate(self, request: Request, secret: str | None) -> UserAPIKeyAuth:
        """Decide what a request may reach; the model call itself is decided when LiteLLM has settled what it is."""
        if self.is_misconfigured or not any(callback is self.hooks for callback in litellm.callbacks):
            why = self.is_misconfigured or "litellm_settings.callbacks does not name the adapter's hooks"
            log.error("%s; every request is refused", why)
            raise refusal(503, "gateway_misconfigured", "This gateway is not set up to ask the portal.")
        secret = (secret or "").removeprefix("Bearer ").strip()
        scope, method = request.scope, str(request.scope.get("method"))
        path, root = (
            str(scope.get("path", "")),
            str(scope.get("app_root_path", scope.get("root_path", ""))).rstrip("/"),
        )
        if root and path.startswith(root + "/"):
            path = path[len(root) :]
        is_metered = method == "POST" and METERED.fullmatch(path) is not None
        key_id = parse_token(secret)
        if not key_id:
            if not is_metered and self._is_master(secret):
                return UserAPIKeyAuth(api_key="master", user_role=LitellmUserRoles.PROXY_ADMIN)
            raise refusal(401, "credential_unknown", "Send a user token or an API key of the portal.")
        if is_metered:
            call = Call(uuid7(), key_id, secret, self._client_ip(request))
            with self.lock:
                self.calls[call.mark] = call
            return UserAPIKeyAuth(api_key=key_id, metadata={MARK: call.mark, HOLDER: key_id})
        if FREE.fullmatch(path) and method in ("GET", "HEAD", "POST"):
            await self._check(secret)
            return UserAPIKeyAuth(api_key=key_id, metadata={HOLDER: key_id})
        detail = "This endpoint is not billed by model tokens and cannot be accounted for; ask the gateway's operator."
        raise refusal(403, "route_not_allowed", detail)

    def _is_master(self, secret: str) -> bool:
        from litellm.proxy import proxy_server

        master = proxy_server.master_key
        return isinstance(master, str) and hmac.compare_digest(secret.encode(), master.encode())

    def _client_ip(self, request: Request) -> str:
        hops = [request.client.host] if request.client else []
        if self.settings.proxies:
            named = [
                hop.strip()
                for value in request.headers.getlist("x-forwarded-for")
                for hop in value.split(",")
            ]
            hops = (named + hops)[-1 - self.settings.proxies :]
        return hops[0][:64] if hops else ""

    async def _check(self, secret: str) -> None:
        try:
            answer = await self._ask("GET", "me", headers={"X-LLM-Credential": secret})
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            if self._may_pass(secret):
                return
            raise self._unavailable(error) from None
        if answer[0] != 200:
            raise self._refused(*answer)

    async def _ask(
        self, method: str, name: str, **arguments: Any
    ) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        loop = asyncio.get_running_loop()
        if self.session is None or self.session.closed or self.loop is not loop:
            timeout = aiohttp.ClientTimeout(total=self.settings.timeout)
            self.loop = loop
            self.session = aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
            )
        headers = {"Authorization": f"Bearer {self.settings.secret}", **arguments.pop("headers", {})}
        url = f"{self.settings.url}/gateway/v1/{name}"
        async with self.session.request(
            method, url, headers=headers, allow_redirects=False, **arguments
        ) as answer:
            raw = await answer.content.read(1 << 20) if answer.content_length != 0 else b""
            if answer.status >= 500:
                raise OSError(f"HTTP {answer.status}")
            try:
                document = json.loads(raw)
            except ValueError:
                raise OSError(f"HTTP {answer.status} without a document") from None
            return answer.status, document, answer.headers

    async def authorize(self, call: Call, data: dict[str, Any], call_type: str) -> None:
        """Ask the portal about the call and note its reservation; raise Refusal."""
        if why := forbidden(data, call_type):
            raise refusal(400, "not_accountable", why)
        if self.reporter.is_full:
            raise refusal(
                503,
                "usage_spool_full",
                "This gateway cannot hand on usage at the moment.",
                {"Retry-After": "30"},
            )
        # The mark is the first request id; a second authorization of the same request gets its own.
        call.request_id = call.request_id or call.mark
        call.model = str(data.get("model") or "")
        if not 0 < len(call.model) <= 512:
            raise refusal(400, "model_missing", "Name the model in the field model.")
        body: dict[str, Any] = {
            "credential": call.secret,
            "model": call.model,
            "request_id": call.request_id,
        }
        body |= {"stream": bool(data.get("stream")), **amounts(data, call_type)}
        if call.client_ip:
            body["client_ip"] = call.client_ip
        try:
            status, document, headers = await self._insist(body)
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            if self._may_pass(call.secret, call.model):
                log.warning(
                    "no decision from the portal (%s): %s admitted by the policy open",
                    error or "timeout",
                    call.request_id,
                )
                call.is_admitted = True
                return
            self.reporter.undo_later(body)
            raise self._unavailable(error) from None
        self.passed = Decimal(0)
        digest = hashlib.sha256(call.secret.encode()).digest()
        if status != 200:
            if status != 429:
                self.known.pop(digest, None)
            raise self._refused(status, document, headers)
        self.known[digest] = time.monotonic()
        self.known.move_to_end(digest)
        while len(self.known) > 10_000:
            self.known.popitem(last=False)
        self._learn(call.model, document)
        call.reservation_id, call.is_admitted = str(document["reservation_id"]), True
        try:
            call.expires = datetime.fromisoformat(str(document["expires_at"])).timestamp()
        except (KeyError, ValueError):
            call.expires = time.time() + 900

    async def _insist(self, body: dict[str, Any]) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        """Ask until there is an answer or time is up; the same request id makes repetition harmless."""
        until = time.monotonic() + self.settings.timeout
        pause = 0.05
        while True:
            try:
                return await self._ask("POST", "authorize", json=body)
            except (OSError, aiohttp.ClientError, TimeoutError):
                if time.monotonic() + pause >= until:
                    raise
            await asyncio.sleep(pause)
            pause *= 2

    def _learn(self, model: str, document: Mapping[str, Any]) -> None:
        """Remember the failure policy and what a call to the model reserved."""
        try:
            said = document.get("failure_policy") or {}
            self.policy = (said.get("mode") == "open", Decimal(str(said.get("amount", 0))))
            self.held[model] = Decimal(str(document["reserved"]))
        except (InvalidOperation, KeyError, AttributeError):
            log.warning("the portal's answer names no failure policy")
        while len(self.held) > 1_000:
            self.held.popitem(last=False)

    def _may_pass(self, secret: str, model: str = "") -> bool:
        """With the policy open: what the portal admitted within the last hour goes on while it is away.

        Where the portal set the policy, calls together pass up to its amount, each as what the last one to its model
        reserved; one to a model that nothing is known of does not pass.
        """
        digest = hashlib.sha256(secret.encode()).digest()
        if time.monotonic() >= self.known.get(digest, -3600.0) + 3600:
            return False
        if self.settings.is_open is not None:
            return self.settings.is_open
        is_open, amount = self.policy
        if not is_open or not model:
            return is_open
        cost = self.held.get(model)
        if cost is None or self.passed + cost > amount:
            return False
        self.passed += cost
        return True

    def _unavailable(self, error: BaseException) -> Refusal:
        log.warning("no decision from the portal: %s", str(error) or type(error).__name__)
        return refusal(
            503,
            "portal_unavailable",
            "The portal cannot decide at the moment; try again.",
            {"Retry-After": "1"},
        )

    def _refused(self, status: int, document: dict[str, Any], headers: Mapping[str, str]) -> Refusal:
        code = str(document.get("code", ""))
        if status in (400, 422):
            return refusal(
                400, "not_accountable", f"The portal cannot read this request: {document.get('errors')}"
            )
        if code == "gateway_unknown" or status not in (401, 403, 429):
            log.error(
                "the portal does not answer this gateway: HTTP %s %s %s",
                status,
                code,
                document.get("errors", ""),
            )
            return refusal(
                503, "gateway_misconfigured", "This gateway may not ask the portal; tell its operator."
            )
        kept = {name: headers[name] for name in ("Retry-After", "WWW-Authenticate") if name in headers}
        wait = whole(kept.get("Retry-After"))
        if status == 429 and (not document.get("retryable", True) or (wait or 0) > 60):
            kept["x-should-retry"] = "false"  # OpenAI's libraries would try twice more, at once
        return Refusal(status, document, kept)

    # After the call

    def call(self, mark: Any) -> Call | None:
        """Return the call with this request id, while it is open."""
        with self.lock:
            return self.calls.get(mark) if isinstance(mark, str) else None

    def report(self, call: Call, event: dict[str, Any], key: str = "") -> None:
        """Hand the account of a call to the reporter: the first settles its reservation.

        A request can make LiteLLM call models more than once (tools that it runs itself); each further response, told
        apart by ``key``, is accounted for under a request id of its own.
        """
        with self.lock:
            if key in call.reported or (call.is_done and not key):
                return
            if "" in call.reported:
                log.warning("LiteLLM's account of %s came too late; ours stands", call.request_id)
                return
            number = len(call.reported)
            call.reported.add(key)
            call.is_done, call.provisional, call.texts = True, None, None
        event["request_id"] = call.request_id if number == 0 else f"{call.request_id}.{number}"
        event["credential_id"] = call.key_id
        if number == 0 and call.reservation_id:
            event["reservation_id"] = call.reservation_id
        self.reporter.add(event)

    def report_later(
        self, call: Call, status: str, usage: dict[str, int], texts: Any, grace: float = GRACE
    ) -> None:
        """Note what happened to a call that was sent, in case no success is logged for it."""
        with self.lock:
            if call.is_done:
                return
            call.provisional = {"model": call.model, "status": status, "occurred_at": instant(), **usage}
            call.texts, call.due = texts, time.monotonic() + grace

    def release(self, call: Call) -> None:
        """Give back what was reserved for a call that was not sent."""
        with self.lock:
            is_held = bool(call.reservation_id) and not call.is_done
            call.is_done = True
            self.calls.pop(call.mark, None)
        if is_held:
            self.reporter.add({"release": call.reservation_id})

    def tick(self, is_last: bool) -> None:
        """Report what was waited for long enough, extend what lasts, forget what is over. Called by the reporter."""
        now, clock = time.monotonic(), time.time()
        with self.lock:
            calls = list(self.calls.values())
        for call in calls:
            if call.provisional is not None and (is_last or now >= call.due):
                event = {"input_tokens": 0, "output_tokens": 0, **call.provisional}
                event["input_tokens"] = event["input_tokens"] or count_input(call.model, call.texts)
                self.report(call, event)
            age = now - call.began
            if age > LONGEST_CALL or (age > 120 and (call.is_done or not call.is_admitted)):
                with self.lock:
                    self.calls.pop(call.mark, None)
        for call in calls:
            if not call.is_done and call.reservation_id and 0 < call.expires < clock + EXTEND_BEFORE:
                self._extend(call)

    def _extend(self, call: Call) -> None:
        status, document = self.reporter.portal.post("extend", {"reservation_id": call.reservation_id})
        if status == 200:
            call.expires = datetime.fromisoformat(document["expires_at"]).timestamp()
        elif status < 500:
            call.expires = 0.0  # settled or expired: nothing left to extend


def _mark(*holders: Any) -> Any:
    """Return our mark from the metadata that LiteLLM hands on; a client cannot put it there."""
    for holder in holders:
        for name in ("metadata", "litellm_metadata"):
            metadata = holder.get(name) if isinstance(holder, Mapping) else None
            marks = metadata.get("user_api_key_auth_metadata") if isinstance(metadata, Mapping) else None
            if isinstance(marks, Mapping) and MARK in marks:
                return marks[MARK]
    return None


class Hooks(CustomLogger):  # type: ignore[misc, unused-ignore]
    """LiteLLM's callbacks; each finds its call by the mark that authentication left."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.adapter = adapter

    async def async_pre_call_hook(
        self, user_api_key_dict: UserAPIKeyAuth, cache: Any, data: dict[str, Any], call_type: str
    ) -> None:
        """Authorize, now that aliases, paths and defaults have made the request what will be sent."""
        call = self.adapter.call((user_api_key_dict.metadata or {}).get(MARK))
        if call is None:
            raise refusal(
                403, "not_accountable", "Model calls need a user token or an API key of the portal."
            )
        if call.is_admitted:
            if call.sent:
                raise refusal(403, "not_accountable", "A call within a call cannot be accounted for.")
            # LiteLLM's own rate limits made it turn to another model.
            self.adapter.release(call)
            call = Call(call.mark, call.key_id, call.secret, call.client_ip, uuid7())
            with self.adapter.lock:
                self.adapter.calls[call.mark] = call
        await self.adapter.authorize(call, data, call_type)

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> None:
        """An attempt is about to be sent."""
        if call := self.adapter.call(_mark(kwargs)):
            call.sent += 1

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,
        fallback_depth: int | None = None,
    ) -> None:
        """An attempt has failed; one that reached nobody does not count."""
        call = self.adapter.call(_mark(request_data))
        if call and call.sent and never_sent(exception):
            call.sent -= 1

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: UserAPIKeyAuth, response: Any, request_data: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """Pass a stream on, and note its end: nothing is logged for a client that leaves before the first piece."""
        call = self.adapter.call((user_api_key_dict.metadata or {}).get(MARK))
        is_whole = False
        try:
            async for chunk in response:
                if call:
                    call.chunks += 1
                yield chunk
            is_whole = True
        finally:
            if call and not call.is_done and call.provisional is None:
                status = "ok" if is_whole else "cancelled"
                self.adapter.report_later(call, status, {"output_tokens": call.chunks}, _texts(request_data))

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Report what a call used; for a stream this comes once, at its end."""
        logged = kwargs.get("standard_logging_object") or {}
        params = kwargs.get("litellm_params") or {}
        call = self.adapter.call(_mark(logged, params, kwargs))
        if call is None:
            return
        usage = (logged.get("metadata") or {}).get("usage_object") or getattr(response_obj, "usage", None)
        counted = tokens(usage)
        if not counted["input_tokens"] and not counted["output_tokens"]:
            counted |= {
                "input_tokens": _get(logged, "prompt_tokens"),
                "output_tokens": _get(logged, "completion_tokens"),
            }
        if kwargs.get("cache_hit"):  # answered from LiteLLM's own cache: a call, but nobody was paid for it
            counted = dict.fromkeys(counted, 0)
        left = any((holder.get("metadata") or {}).get("client_disconnected") for holder in (params, kwargs))
        event: dict[str, Any] = {
            "model": str(logged.get("model_group") or call.model)[:512],
            "occurred_at": instant(logged.get("endTime")),
            **counted,
            "status": "cancelled" if left else "ok",
        }
        if (cost := money(logged.get("response_cost"))) is not None:
            event["cost"] = cost
        self.adapter.report(call, event, str(logged.get("id") or kwargs.get("litellm_call_id") or "first"))

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: UserAPIKeyAuth,
        traceback_str: str | None = None,
    ) -> None:
        """The request has failed for good: give the reservation back, or report what was sent."""
        call = self.adapter.call((user_api_key_dict.metadata or {}).get(MARK))
        if call is None or call.is_done:
            return
        if not call.sent:
            self.adapter.release(call)
            return
        usage = request_data.get("combined_usage_object")
        counted = tokens(usage) if usage is not None else {"output_tokens": call.chunks}
        left = str(getattr(original_exception, "status_code", "")) == "499"
        grace = GRACE_FAILED if hasattr(original_exception, "llm_provider") else GRACE
        status = "cancelled" if left else "failed"
        self.adapter.report_later(call, status, counted, _texts(request_data), grace)


def _texts(data: Mapping[str, Any]) -> Any:
    return data.get("messages") or data.get("input") or data.get("prompt")


def _guard_secrets() -> None:
    """Make LiteLLM name a portal's credential by its key id wherever it would name a key.

    It hashes only what begins with ``sk-``; when authentication refuses a request, it hands the key as it came to
    every logger.
    """
    original = UserAPIKeyAuth._safe_hash_litellm_api_key

    def name(api_key: str) -> str:
        found = TOKEN.fullmatch(api_key.removeprefix("Bearer ").strip()) if isinstance(api_key, str) else None
        return found[1] if found else str(original(api_key))

    UserAPIKeyAuth._safe_hash_litellm_api_key = staticmethod(name)


def _shared() -> Adapter:
    """Return the process's one adapter, whichever copy of this file was loaded first."""
    holder = sys.modules.setdefault("_llm_portal_shared", types.ModuleType("_llm_portal_shared"))
    adapter = getattr(holder, "adapter", None)
    if adapter is None:
        _guard_secrets()
        holder.adapter = adapter = Adapter()  # type: ignore[attr-defined]
    return adapter


hooks = _shared().hooks


async def user_api_key_auth(request: Request, api_key: str | None) -> UserAPIKeyAuth:
    """Authenticate a request for LiteLLM (``general_settings.custom_auth``)."""
    return await _shared().authenticate(request, api_key)

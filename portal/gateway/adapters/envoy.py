"""Report what calls through Envoy used: reads Envoy's access log and posts to the portal's Gateway API.

Run beside Envoy with Python 3.11 or newer and nothing else:

    LLM_PORTAL_URL=https://portal.example.com LLM_PORTAL_GATEWAY_SECRET=llmgw_gw_… \
        python3 envoy.py --log /var/log/envoy/usage.jsonl

Each line of the log is a JSON object as `docs/envoy/envoy.yaml` in the portal's repository writes it. How far the log
was reported is kept, on the disk, only after the portal has committed it: a shipper that is killed reports the last
lines again, and the portal knows them by their request id. Nothing is given up while the portal is away; the log is
the spool. Rotate it by renaming and telling Envoy to open it anew, never by truncating, and keep it uncompressed until
it is reported.
"""

import argparse
import contextlib
import fcntl
import hashlib
import http.client
import json
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

log = logging.getLogger("llm_portal.envoy")

EVENTS = 500  # in one post; the portal takes 1000 events and 1 MiB
CHUNK = 1 << 20  # bytes read at once; a longer line is no line of ours
HEAD = 256  # bytes by which a file is known again
MOST = 10**9
_COMPRESSED = (".gz", ".xz", ".zst", ".bz2")


class Stopped(Exception):
    """Somebody asked for the end."""


def _number(value: Any) -> int | None:
    """Return a count of tokens; Envoy writes some numbers as doubles."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MOST:
        return None
    return int(value)


def tokens_of(usage: dict[str, Any]) -> dict[str, int] | None:
    """Return the counts of a provider's usage in the portal's terms, or None when there are none.

    Chat Completions say prompt_tokens and completion_tokens, Responses input_tokens and output_tokens. So do Messages,
    whose cached tokens are counted beside input_tokens and not in it.
    """
    found = {name: number for name, value in usage.items() if (number := _number(value)) is not None}
    given = found.get("prompt_tokens", found.get("input_tokens"))
    answered = found.get("completion_tokens", found.get("output_tokens"))
    if given is None and answered is None:
        return None
    read, written = found.get("cache_read_input_tokens", 0), found.get("cache_creation_input_tokens", 0)
    total = (given or 0) + read + written
    return {
        "input_tokens": total,
        "output_tokens": answered or 0,
        "cached_input_tokens": read or min(found.get("cached_tokens", 0), total),
        "cache_write_tokens": written,
        "reasoning_tokens": min(found.get("reasoning_tokens", 0), answered or 0),
    }


def _ended(entry: dict[str, Any]) -> Any:
    """Return when the call ended: its start and how long it took, in milliseconds."""
    start, length = entry.get("start"), _number(entry.get("duration"))
    if not isinstance(start, str) or length is None:
        return start
    ended = datetime.fromisoformat(start) + timedelta(milliseconds=length)
    return ended.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Line:
    """What a line of the log is for: an event to report, or what to give up, as ``release`` takes it."""

    event: dict[str, Any] | None = None
    release: dict[str, Any] | None = None


def read_line(raw: bytes) -> Line:
    """Read one line of the access log; raise ValueError for what is none.

    Refused calls have no reservation; a call without one whose answer Envoy did not hear may have, and is released by
    Envoy's name for it. A call that never left Envoy is released. Of one that left and brought no usage
    back – cut off by either side, or a stream without it – nothing more will be heard: the portal books an estimate.
    """
    entry = json.loads(raw)
    if not isinstance(entry, dict):
        raise ValueError("not an object")
    reservation_id, request_id = entry.get("reservation_id"), entry.get("request_id")
    status, flags = entry.get("status") or 0, str(entry.get("flags") or "-").split(",")
    if not reservation_id or not request_id:
        call_id = entry.get("call_id")
        # Envoy did not hear the portal's answer: the client left meanwhile, or it took too long.
        is_unheard = "DC" in flags or entry.get("details") == "ext_authz_error"
        return Line(release={"call_id": call_id} if call_id and is_unheard else None)
    found = entry.get("usage")
    found = found if isinstance(found, dict) else {}
    tokens = tokens_of(found)
    if tokens is None:
        # After another attempt nobody knows whether the first one was sent.
        if not entry.get("sent") and (entry.get("attempts") or 0) <= 1:
            return Line(release={"reservation_id": reservation_id})
        if status < 400 or entry.get("details") != "via_upstream":
            return Line(release={"reservation_id": reservation_id, "is_sent": True})
        tokens = {
            "input_tokens": 0,
            "output_tokens": 0,
        }  # the provider's own refusal, which it does not charge
    model = found.get("model") or urllib.parse.unquote(entry.get("model") or "")
    event = {
        "request_id": request_id,
        "reservation_id": reservation_id,
        "model": model,
        "occurred_at": _ended(entry),
        "status": "failed" if status >= 400 else "ok" if flags == ["-"] else "cancelled",
        **tokens,
    }
    return Line(event=event)


@dataclass(frozen=True, slots=True)
class Place:
    """How far the log was reported: the file, by inode and the hash of its first bytes, and the offset in it."""

    inode: int = 0
    offset: int = 0
    head: str = ""

    @classmethod
    def load(cls, path: Path) -> "Place":
        """Return what was kept; the beginning of everything when there is nothing that can be read."""
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError) as error:
            log.warning(
                "%s cannot be read (%s): reporting from the start, which counts nothing twice", path, error
            )
            return cls()

    def save(self, path: Path) -> None:
        """Replace the file at once; it is on the disk when this returns."""
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)


class Log:
    """The access log through its rotations, from a place on."""

    def __init__(self, path: Path, place: Place) -> None:
        self.path, self.place = path, place
        self._descriptor: int | None = None
        self._modified = 0
        self._read = place.offset

    def lines(self) -> list[bytes]:
        """Return whole lines not yet returned, none when there are none now; `advance` says they are done."""
        if self._descriptor is None and not self._resume():
            return []
        lines = self._more()
        while not lines and self._next():
            lines = self._more()
        return lines

    def advance(self) -> Place:
        """Return the place after what `lines` returned."""
        assert self._descriptor is not None  # noqa: S101 - only after lines
        self.place = Place(
            os.fstat(self._descriptor).st_ino, self._read, self._head(self._descriptor, self._read)
        )
        return self.place

    def close(self) -> None:
        """Let the file go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _more(self) -> list[bytes]:
        assert self._descriptor is not None  # noqa: S101
        facts = os.fstat(self._descriptor)
        self._modified = facts.st_mtime_ns
        if facts.st_size < self._read:
            log.error("%s was truncated: lines may be lost; rotate it by renaming", self.path)
            self._read = 0
        chunk = os.pread(self._descriptor, CHUNK, self._read)
        end = chunk.rfind(b"\n") + 1
        if not end and len(chunk) == CHUNK:
            log.error("%s: a line longer than %d bytes is left out", self.path, CHUNK)
            self._read += CHUNK
            return self._more()
        lines = chunk[:end].splitlines(keepends=True)[:EVENTS]
        self._read += sum(map(len, lines))
        return lines

    def _resume(self) -> bool:
        files = self._files()
        for path, facts in files:
            if facts.st_ino == self.place.inode and facts.st_size >= self.place.offset:
                descriptor = os.open(path, os.O_RDONLY)
                if self._head(descriptor, self.place.offset) == self.place.head:
                    self._descriptor, self._read = descriptor, self.place.offset
                    return True
                os.close(descriptor)
        if self.place.inode:
            log.warning(
                "the file reported last is gone: reporting all that is there, which counts nothing twice"
            )
        return bool(files) and self._open(files[0][0])

    def _next(self) -> bool:
        """Go on with the next file once Envoy writes to it; until then it may still write to this one."""
        assert self._descriptor is not None  # noqa: S101
        facts = os.fstat(self._descriptor)
        files = self._files()
        ours = [index for index, (_, other) in enumerate(files) if other.st_ino == facts.st_ino]
        later = files[ours[0] + 1 :] if ours else [f for f in files if f[1].st_mtime_ns >= self._modified]
        later = [file for file in later if file[1].st_size]
        if not later or os.fstat(self._descriptor).st_size > self._read:
            return False
        return self._open(later[0][0])

    def _open(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        self.close()
        self._descriptor, self._read = descriptor, 0
        return True

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """Return the log and what it was renamed to, oldest first, the log itself last."""
        found = []
        for path in self.path.parent.glob(f"{self.path.name}*"):
            with contextlib.suppress(FileNotFoundError):
                if path.suffix not in _COMPRESSED and path.is_file():
                    found.append((path, path.stat()))
        return sorted(found, key=lambda file: (file[0] == self.path, file[1].st_mtime_ns))

    @staticmethod
    def _head(descriptor: int, offset: int) -> str:
        return hashlib.sha256(os.pread(descriptor, min(offset, HEAD), 0)).hexdigest()[:32]


class Portal:
    """The Gateway API, asked until it answers."""

    def __init__(self, url: str, secret: str, stop: threading.Event) -> None:
        self.url, self.stop = url.rstrip("/"), stop
        self._headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    def report(self, events: Sequence[dict[str, Any]]) -> None:
        """Return when the portal has committed every event or said why it never will."""
        if not events:
            return
        answer = self._insist("usage", {"events": events}, ("too_large", "malformed", "invalid"))
        if "accepted" not in answer:
            if len(events) == 1:
                log.error("refused for good as %s: %s", answer["code"], json.dumps(events[0]))
                return
            half = len(events) // 2
            self.report(events[:half])
            self.report(events[half:])
            return
        for refused in answer.get("rejected", []):
            event = json.dumps(events[refused["index"]])
            log.error("rejected as %s (%s): %s", refused["code"], refused["detail"], event)
        log.info("%d reported, %d known before", answer.get("accepted", 0), answer.get("duplicates", 0))

    def release(self, document: dict[str, Any]) -> None:
        """Give up a reservation: the call was never sent, or was and nobody will say what it used."""
        self._insist("release", document, ("not_found", "malformed", "invalid"))

    def _insist(self, name: str, document: dict[str, Any], final: tuple[str, ...]) -> dict[str, Any]:
        """Post until the portal takes it or refuses it with one of the codes; nobody else's answer counts."""
        pause = 0.25
        while True:
            try:
                status, answer = self._post(name, document)
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = str(error) or type(error).__name__
            else:
                if status == 204 or (status == 200 and "accepted" in answer) or answer.get("code") in final:
                    return answer
                reason = f"{status} {answer.get('code', '')}"
            log.warning("the portal did not take it (%s); again in %.1f s", reason, pause)
            if self.stop.wait(pause * random.uniform(0.5, 1)):  # noqa: S311 - spreads the shippers
                raise Stopped
            pause = min(pause * 2, 30)

    def _post(self, name: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        body = json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/gateway/v1/{name}", body, self._headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the operator's address
                status, raw = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, raw = error.code, error.read()
        with contextlib.suppress(ValueError):
            found = json.loads(raw)
            return status, found if isinstance(found, dict) else {}
        return status, {}


def ship(source: Log, portal: Portal, state: Path) -> bool:
    """Report the next lines and keep the place; whether there were any."""
    lines = source.lines()
    if not lines:
        return False
    read = list(_read(lines))
    portal.report([line.event for line in read if line.event is not None])
    for line in read:
        if line.release is not None:
            portal.release(line.release)
    source.advance().save(state)
    return True


def _read(lines: Sequence[bytes]) -> Iterator[Line]:
    for raw in lines:
        try:
            yield read_line(raw)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            log.error("not a line of ours (%s): %r", error, raw[:500])


@contextlib.contextmanager
def _only_one(state: Path) -> Iterator[None]:
    with open(f"{state}.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"Another shipper works with {state}.")
        yield


def main() -> None:
    """Ship until a signal comes; the last post is finished first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=Path, required=True, help="Envoy's access log")
    parser.add_argument("--state", type=Path, help="where to keep the place (default: beside the log)")
    parser.add_argument("--poll", type=float, default=0.5, help="seconds between looks at the log")
    parser.add_argument("--once", action="store_true", help="stop at the end of the log")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    missing = [name for name in ("LLM_PORTAL_URL", "LLM_PORTAL_GATEWAY_SECRET") if not os.environ.get(name)]
    if missing:
        parser.error(f"set {' and '.join(missing)}")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    state = chosen.state or chosen.log.with_name(f".{chosen.log.name}.shipped")
    portal = Portal(os.environ["LLM_PORTAL_URL"], os.environ["LLM_PORTAL_GATEWAY_SECRET"], stop)
    with _only_one(state), contextlib.suppress(Stopped):
        source = Log(chosen.log, Place.load(state))
        while not stop.is_set():
            if not ship(source, portal, state) and (chosen.once or stop.wait(chosen.poll)):
                break


if __name__ == "__main__":
    main()

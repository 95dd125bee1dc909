"""A model's server for tests: answers like OpenAI's, whole or as a stream, and remembers what it was sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
MESSAGES_START = {
    "input_tokens": 3,
    "cache_read_input_tokens": 2,
    "cache_creation_input_tokens": 5,
    "output_tokens": 1,
}


class Upstream(ThreadingHTTPServer):
    """Listens on a free port; ``seen`` holds headers and body of each request, oldest first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.go_on = threading.Event()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Serve in a thread for the length of a ``with`` block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(raw)
        self.server.seen.append(({name.lower(): value for name, value in self.headers.items()}, asked))
        if asked.get("hold"):
            self.server.go_on.wait(60)
            self.server.go_on.clear()
            self.close_connection = True
        elif asked.get("fail"):
            self._answer(429, "application/json", b'{"error":{"message":"slow down"}}')
        elif self.path.startswith("/v1/messages"):
            self._stream(_messages())
        elif self.path.startswith("/v1/responses"):
            self._stream(_responses())
        elif asked.get("stream"):
            self._stream(_chunks(asked), is_cut=bool(asked.get("cut")))
        else:
            answer = {"model": "gpt-4o-mini-2024-07-18", "choices": [], "usage": USAGE}
            answer["padding"] = "x" * int(asked.get("padding", 0))
            self._answer(200, "application/json; charset=utf-8", json.dumps(answer).encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: list[str], is_cut: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            data = event.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        if is_cut:
            self.close_connection = True  # without the last chunk: the provider broke off
            return
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def _chunks(asked: dict[str, Any]) -> list[str]:
    parts: list[dict[str, Any]] = [
        {"choices": [{"delta": {"content": word}}]} for word in ("Hello", " there")
    ]
    if (asked.get("stream_options") or {}).get("include_usage"):
        parts = [{**part, "usage": None} for part in parts] + [{"choices": [], "usage": USAGE}]
    return [f"data: {json.dumps({'model': 'gpt-4o-mini', **part})}\n\n" for part in parts] + [
        "data: [DONE]\n\n"
    ]


def _messages() -> list[str]:
    start = {"type": "message_start", "message": {"model": "gpt-4o-mini", "usage": MESSAGES_START}}
    end = {"type": "message_delta", "usage": {"output_tokens": 15}}
    return [f"event: {part['type']}\ndata: {json.dumps(part)}\n\n" for part in (start, end)]


def _responses() -> list[str]:
    usage = {"input_tokens": 11, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 7}
    parts = [
        {"type": "response.created", "response": {"model": "gpt-4o-mini", "usage": None}},
        {"type": "response.completed", "response": {"model": "gpt-4o-mini", "usage": usage}},
    ]
    return [f"event: {part['type']}\ndata: {json.dumps(part)}\n\n" for part in parts]

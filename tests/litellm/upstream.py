"""A provider of models on this machine: OpenAI's and Anthropic's interfaces, with what can go wrong with them.

The model's name says how it behaves: `good`, `fails` (status 500), `fails-once`, `breaks` (the connection ends within
a stream), `waits` (within a stream, or at once). The last two wait until `go` is set.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OPENAI_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 8},
}
ANTHROPIC_USAGE = {
    "input_tokens": 30,
    "cache_read_input_tokens": 500,
    "cache_creation_input_tokens": 70,
    "output_tokens": 20,
}
RESPONSES_USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 120,
}
WORDS = ["Once", " upon", " a", " time", " there", " was", " a", " limit", "."]


class Upstream(ThreadingHTTPServer):
    """The server; `requests` is what it was asked, `go` lets the models named `waits` go on."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.go = threading.Event()
        self.failures: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body))
        model = str(body["model"])
        if model.startswith("fails-once") and model not in self.server.failures:
            self.server.failures.add(model)
            return self._answer({"error": {"message": "once", "type": "server_error"}}, 500)
        if model == "fails":
            return self._answer({"error": {"message": "broken", "type": "server_error"}}, 500)
        if model == "waits" and not body.get("stream"):
            self.server.go.wait(30)
        if self.path.endswith("/embeddings"):
            return self._embeddings(body)
        if self.path.endswith("/messages"):
            return self._messages(body)
        if self.path.endswith("/responses"):
            return self._responses(body)
        return self._chat(body)

    def _answer(self, document: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(
        self, model: str, events: list[tuple[str, dict[str, Any]]], *, is_named: bool = False
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, (name, event) in enumerate(events):
            if (model, number) in (("waits", 3), ("breaks", 5)):
                self.server.go.wait(30)
            if (model, number) == ("breaks", 5):
                self.close_connection = True
                return
            head = f"event: {name}\n" if is_named else ""
            self._chunk(f"{head}data: {json.dumps(event)}\n\n")
        if not is_named:
            self._chunk("data: [DONE]\n\n")
        self._chunk("")

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _chat(self, body: dict[str, Any]) -> None:
        model = body["model"]
        base = {"id": f"chatcmpl-{len(self.server.requests)}", "created": 1, "model": model}
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return self._answer(
                {**base, "object": "chat.completion", "choices": [choice], "usage": OPENAI_USAGE}
            )
        chunk = {**base, "object": "chat.completion.chunk"}
        events = [
            {
                **chunk,
                "choices": [
                    {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
                ],
            }
            for word in WORDS
        ]
        events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append({**chunk, "choices": [], "usage": OPENAI_USAGE})
        return self._stream(model, [("", event) for event in events])

    def _embeddings(self, body: dict[str, Any]) -> None:
        data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        return self._answer({"object": "list", "data": data, "model": body["model"], "usage": usage})

    def _messages(self, body: dict[str, Any]) -> None:
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "stop_reason": None,
        }
        if not body.get("stream"):
            content = [{"type": "text", "text": "".join(WORDS)}]
            done = {**message, "content": content, "stop_reason": "end_turn", "usage": ANTHROPIC_USAGE}
            return self._answer(done)
        start = {**message, "content": [], "usage": {**ANTHROPIC_USAGE, "output_tokens": 1}}
        events: list[tuple[str, dict[str, Any]]] = [
            ("message_start", {"message": start}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            *(
                ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": word}})
                for word in WORDS
            ),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}}),
            ("message_stop", {}),
        ]
        named = [(name, {"type": name, **event}) for name, event in events]
        return self._stream(body["model"], named, is_named=True)

    def _responses(self, body: dict[str, Any]) -> None:
        text = {"type": "output_text", "text": "".join(WORDS), "annotations": []}
        item = {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [text],
        }
        response = {
            "id": f"resp_{len(self.server.requests)}",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": body["model"],
            "output": [item],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": RESPONSES_USAGE,
        }
        if not body.get("stream"):
            return self._answer(response)
        begun = {**response, "status": "in_progress", "output": [], "usage": None}
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        events: list[tuple[str, dict[str, Any]]] = [
            ("response.created", {"response": begun}),
            *(("response.output_text.delta", {**place, "delta": word}) for word in WORDS),
            ("response.completed", {"response": response}),
        ]
        named = [
            (name, {"type": name, "sequence_number": n, **event}) for n, (name, event) in enumerate(events)
        ]
        return self._stream(body["model"], named, is_named=True)

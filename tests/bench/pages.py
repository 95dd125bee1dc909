"""Pages with 100 projects and with 100,000: the same time, the same queries.

The parent runs one process for each size; a line on its input is an address, the answer is how long the page took
and how many queries it made.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from portal.demo.lease import Lease
from portal.env import REPO
from tests.bench.row import Row

SMALL = ("--projects", "100", "--credentials", "1000")
LARGE = ("--projects", "100000", "--credentials", "1000000")
ROUNDS = 7
PARTS = 8  # queries of what there is to show; a query for each of the 50 rows of a list is more


class Portal:
    """One size of the portal, in a process of its own."""

    def __init__(self, folder: Path, size: tuple[str, ...]) -> None:
        words = [sys.executable, "-m", "tests.bench.pages", str(folder), *size]
        # Its servers are its own, whoever runs the benchmarks.
        kept = {name: value for name, value in os.environ.items() if not name.endswith(("_URL", "_TIMEOUT"))}
        self._process = subprocess.Popen(
            words, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=kept
        )
        self.addresses: dict[str, str] = self._read()

    def _read(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the process of the pages ended")
        return json.loads(line)

    def get(self, address: str) -> dict[str, Any]:
        """Return milliseconds and queries of one answer."""
        assert self._process.stdin
        print(address, file=self._process.stdin, flush=True)
        answer: dict[str, Any] = self._read()
        if answer["status"] != 200:
            raise SystemExit(f"{address}: {answer['status']}")
        return answer

    def end(self) -> None:
        """Stop it and its servers."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


@contextmanager
def both(root: Path) -> Iterator[tuple[Portal, Portal]]:
    """Run both sizes; data that is there already is used again."""
    small, large = Portal(root / "small", SMALL), Portal(root / "large", LARGE)
    try:
        yield small, large
    finally:
        small.end()
        large.end()


def compare(root: Path) -> list[tuple[str, float, float, int, int]]:
    """Return for each page: name, median milliseconds with 100 and with 100,000 projects, queries of each."""
    rows = []
    with both(root) as portals:
        for name in portals[0].addresses:
            taken: tuple[list[float], list[float]] = ([], [])
            queries = [0, 0]
            for number in range(ROUNDS + 1):
                for index, portal in enumerate(portals):
                    answer = portal.get(portal.addresses[name])
                    queries[index] = answer["queries"]
                    if number:
                        taken[index].append(answer["ms"])
            medians = statistics.median(taken[0]), statistics.median(taken[1])
            rows.append((name, *medians, queries[0], queries[1]))
    return rows


def addresses() -> dict[str, str]:
    """Return the lists, each in the orders it offers, and the pages of one project, group, person and credential."""
    from django.urls import reverse

    from apikeys.models import ApiKey
    from groups.models import Group
    from portal.accounts.models import Person
    from projects.models import Project
    from tokens.models import UserToken

    project = Project.objects.filter(code__startswith="volume-", state="active").order_by("-id")[5]
    assert project.group_id
    group = Group.objects.filter(pk=project.group_id).get()
    person = Person.objects.filter(email__startswith="volume-").order_by("-id")[3]
    token = UserToken.objects.filter(project=project).order_by("id")[0]
    key = ApiKey.objects.order_by("id")[20]
    plain = ["monitoring:index", "projects:list", "groups:list", "accounts:people", "tokens:list", "apikeys:list",
             "gateway:refusals", "audit:list", "organization:settings", "organization:limits", "gateway:list",
             "limits:list", "approvals:list", "monitoring:months",
             ]  # fmt: skip
    found = {name: reverse(name) for name in plain}
    for name, orders in SORTS.items():
        for order in orders:
            found[f"{name} {order}"] = f"{reverse(name)}?{order}"
    for tab in ("detail", "tokens", "keys", "members", "limits", "activity", "settings"):
        found[f"projects:{tab}"] = reverse(f"projects:{tab}", args=[project.code])
    found["groups:detail"] = reverse("groups:detail", args=[group.code])
    for name, thing in (
        ("accounts:person", person.pk),
        ("tokens:detail", token.key_id),
        ("apikeys:detail", key.key_id),
    ):
        found[name] = reverse(name, args=[thing])
    return found


# Searches that find as much in both: what is compared is the way to the rows, not their number.
SORTS = {
    "projects:list": ["sort=name", "sort=-name", "sort=group", "sort=-today", "sort=month", "sort=-used",
                      "state=active", "q=volume-0000042"],
    "tokens:list": ["sort=name", "sort=-month", "sort=-used", "sort=expires", "q=vt0000000042", "status=expired"],
    "apikeys:list": ["sort=name", "sort=-month", "sort=-used", "sort=expires", "q=vk0000000042"],
    "accounts:people": ["sort=name", "sort=-projects", "sort=-tokens", "sort=-month", "q=volume-42@"],
}  # fmt: skip


def say(text: str) -> None:
    """Write a line to whoever listens, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def serve(folder: Path, size: tuple[str, ...]) -> None:
    """Answer addresses from standard input until it ends."""
    lease = Lease(folder, durable=False, remove=False).join()
    try:
        os.environ.update(lease.urls, PORTAL_DATA_DIR=str(folder), PORTAL_LOG_LEVEL="ERROR")
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        manage = [sys.executable, "manage.py"]
        subprocess.run(
            [*manage, "migrate", "--data-dir", str(folder)], cwd=REPO, check=True, capture_output=True
        )
        import django

        django.setup()
        from django.db import connection, reset_queries
        from django.test import Client, override_settings

        from portal.accounts.models import Person, RoleGrant
        from projects.models import Project
        from tests.factories import signed_in

        if not Project.objects.exists():
            load = [*manage, "load_volume", *size, "--data-dir", str(folder)]
            subprocess.run(load, cwd=REPO, check=True, capture_output=True)
        from projects import standing

        standing.catch_up_with_time()
        admin, is_new = Person.objects.get_or_create(
            tid=uuid.UUID(int=1), oid=uuid.UUID(int=1), defaults={"name": "Bench"}
        )
        if is_new:
            RoleGrant.objects.create(person=admin, role="admin", source="portal")
        client: Client = signed_in(admin)
        client.raise_request_exception = False
        say(json.dumps(addresses()))
        with override_settings(ALLOWED_HOSTS=["*"]):
            for line in sys.stdin:
                connection.force_debug_cursor = True
                reset_queries()
                begun = perf_counter()
                response = client.get(line.strip(), secure=True)
                response.getvalue() if response.streaming else response.content
                taken = (perf_counter() - begun) * 1000
                slow = sorted(connection.queries, key=lambda q: -float(q["time"]))[:3]
                answer: dict[str, Any] = {
                    "status": response.status_code,
                    "ms": taken,
                    "queries": len(connection.queries),
                }
                if os.environ.get("PAGES_SLOW"):
                    answer["slow"] = [(q["time"], q["sql"][:1500]) for q in slow]
                say(json.dumps(answer))
    finally:
        lease.leave()


def rows(_order: dict[str, str]) -> Iterator[Row]:
    """Yield a row for each page: how much longer it takes with 100,000 projects than with 100.

    A row of its own tells of queries that grow with the rows. A part with nothing to show among 100 projects asks less.
    """
    with tempfile.TemporaryDirectory(prefix="portal-pages-") as root:
        for name, small, large, few, many in compare(Path(root)):
            if many > few + PARTS:
                yield Row(f"{name}, queries", "queries", many, few, 1.0, at_most=True)
            yield Row(f"{name}, 100,000 projects against 100", "ms", large, small, 2.0, at_most=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), tuple(sys.argv[2:]))

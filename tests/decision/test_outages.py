"""Two web processes lose Valkey, Postgres, or both: decisions go on as long as anything can decide."""

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pytest
from django.utils import timezone

from apikeys.services import issue_api_key
from audit.actors import Actor
from audit.models import AuditEntry
from portal.decision import check, epoch, jobs, rebuild, services, valkey
from portal.decision.models import Decider, Outage, Rebuild, Renewer
from portal.gateway.services import register_gateway
from projects.services import create_project
from tests.crash.proxies import Proxies
from tests.web_processes import WebProcesses

pytestmark = pytest.mark.slow
ACTOR = Actor.system()


@dataclass
class Portal:
    """Web processes that reach their servers through proxies; the test itself reaches them directly."""

    web: WebProcesses
    proxies: Proxies
    gateway: str
    secret: str
    asked: int = 0

    def ask(self, path: str, body: Any = None) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web.port, timeout=30)
        try:
            connection.request(
                "POST" if body is not None else "GET",
                path,
                body=None if body is None else json.dumps(body),
                headers={"Authorization": f"Bearer {self.gateway}"},
            )
            answer = connection.getresponse()
            raw = answer.read()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, json.loads(raw) if raw else None, headers
        finally:
            connection.close()

    def authorize(self) -> tuple[int, Any, dict[str, str]]:
        self.asked += 1
        call = {"credential": self.secret, "model": "small", "request_id": f"call-{self.asked}"}
        return self.ask("/gateway/v1/authorize", {**call, "input_tokens": 10, "max_output_tokens": 10})

    def report(self, number: int) -> tuple[int, Any, dict[str, str]]:
        event = {
            "request_id": f"call-{number}", "model": "small", "status": "ok", "input_tokens": 10, "output_tokens": 5,
            "occurred_at": (timezone.now() - timedelta(seconds=1)).isoformat(),
        }  # fmt: skip
        known = {"credential_id": self.secret.split("_")[2][:12]}
        return self.ask("/gateway/v1/usage", {"events": [{**event, **known}]})


@pytest.fixture
def portal(clean_state: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    services.set_price(model="small", input=Decimal(1), output=Decimal(2), ceiling=4000, actor=ACTOR)
    project = create_project(code="claims", name="Claims", daily_limit="1", actor=ACTOR)
    _, secret = issue_api_key(project=project, name="key", actor=ACTOR)
    _, gateway = register_gateway(name="gateway", actor=ACTOR)
    rebuild.ensure_ready()
    proxies = Proxies()
    database, redis = urlsplit(os.environ["TEST_DATABASE_APP_URL"]), urlsplit(os.environ["REDIS_URL"])
    postgres = proxies.add("postgres", f"{dict(parse_qsl(database.query))['host']}/.s.PGSQL.5432")
    port = proxies.add("valkey", redis.path)
    who = database.netloc.split("@")[0]
    through = urlunsplit((database.scheme, f"{who}@127.0.0.1:{postgres}", database.path, "", ""))
    monkeypatch.setenv("TEST_DATABASE_APP_URL", through)
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}/0")
    web = WebProcesses(tmp_path / "web.log")
    try:
        portal = Portal(web.start(), proxies, gateway, secret)
        wait_for(lambda: Renewer.objects.filter(reached__isnull=False).count() == web.workers)
        yield portal
    finally:
        web.stop()
        proxies.close()


def wait_for(condition: Callable[[], bool], within: float = 90.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def refused(answer: tuple[int, Any, dict[str, str]]) -> bool:
    """Whether the portal said, as it should, that it cannot decide at the moment."""
    return answer[0] == 503 and answer[1]["code"] == "unavailable" and int(answer[2]["retry-after"]) >= 1


def admits_after_a_while(portal: Portal, within: float = 90.0) -> None:
    deadline = time.monotonic() + within
    while (answer := portal.authorize())[0] != 200:
        assert refused(answer), answer
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_without_valkey_postgres_decides_and_valkey_gets_everything_back(portal: Portal) -> None:
    assert portal.authorize()[0] == 200
    portal.proxies.cut("valkey")
    admits_after_a_while(portal)
    assert Decider.objects.get().state == epoch.State.POSTGRES
    first = portal.asked
    assert [portal.authorize()[0] for _ in range(5)] == [200] * 5
    assert portal.ask("/readyz")[:2] == (200, {"status": "degraded", "degraded": ["valkey"]})
    assert portal.report(first)[1]["accepted"] == 1
    portal.proxies.mend("valkey")
    wait_for(lambda: Decider.objects.get().state == epoch.State.VALKEY)
    wait_for(lambda: portal.authorize()[0] == 200)
    jobs.move_usage()
    assert check.reconcile() == {"counters": [], "reserved": [], "roll_ups": []}
    rebuilt = Rebuild.objects.latest("id")
    assert (rebuilt.kept_reservations, rebuilt.carried_reservations) == (1, 5)
    outage = Outage.objects.get()
    assert (outage.server, outage.admitted) == ("valkey", 6)
    assert outage.ended is not None
    entries = AuditEntry.objects.filter(action__startswith="outage.").order_by("id")
    assert [entry.action for entry in entries] == ["outage.began", "outage.ended"]


def test_without_postgres_decisions_go_on_and_usage_waits(portal: Portal) -> None:
    assert portal.authorize()[0] == 200
    portal.proxies.cut("postgres")
    until = time.monotonic() + 3 * epoch.LEASE.total_seconds()
    while time.monotonic() < until:
        assert portal.authorize()[0] == 200
    assert refused(portal.report(1))
    assert portal.ask("/readyz")[0] == 503
    portal.proxies.mend("postgres")
    wait_for(lambda: portal.report(1)[0] == 200)
    wait_for(lambda: Outage.objects.filter(server="postgres", admitted__gt=0).exclude(ended=None).exists())
    assert Rebuild.objects.count() == 1


def test_without_postgres_a_lease_that_ran_out_on_a_busy_machine_is_renewed_by_the_call_that_needs_it(
    portal: Portal,
) -> None:
    portal.proxies.cut("postgres")
    for _ in range(40):  # more often than the threads that renew come by
        valkey.command("DEL", "meta")
        assert portal.authorize()[0] == 200
    portal.proxies.mend("postgres")
    wait_for(lambda: portal.report(1)[0] == 200)
    assert Rebuild.objects.count() == 1


def test_without_both_nobody_decides_until_one_is_back(portal: Portal) -> None:
    assert portal.authorize()[0] == 200
    portal.proxies.cut("postgres")
    portal.proxies.cut("valkey")
    assert all(refused(portal.authorize()) for _ in range(4))
    portal.proxies.mend("valkey")
    admits_after_a_while(portal)
    assert valkey.call("state")[0] == b"ok"

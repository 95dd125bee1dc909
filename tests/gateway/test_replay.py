"""A recorded trace through real web processes: exact without a limit, never above one, resumed where it stopped."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.actions import Action
from audit.actors import Actor
from audit.models import AuditEntry
from portal import env
from portal.decision import check, jobs, services, valkey
from portal.gateway import replay, runs
from portal.gateway.models import Gateway
from portal.lib.money import from_nano, to_nano
from portal.spend.models import LedgerRow
from projects.models import Membership
from projects.services import create_project
from tests.web_processes import WebProcesses
from tokens.models import UserToken

pytestmark = pytest.mark.slow
ACTOR = Actor.system()
# A recorded trace, if PORTAL_TRACE names one; else one of the same shape is made.
RECORDED = os.environ.get("PORTAL_TRACE")
ROWS = 2000
PRICE = (Fraction("2.499999999"), Fraction("10.000000001"))


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "trace.csv"
    if RECORDED:
        lines = Path(RECORDED).read_text().splitlines()[: ROWS + 1]
    else:
        random = Random(2023)
        lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"] + [
            f"2023-11-16 18:{number // 60 % 60:02}:{number % 60:02}.{random.randrange(10**7):07},"
            f"{min(14050, int(random.lognormvariate(6.6, 1)))},{min(1000, int(random.lognormvariate(5, 0.8)) + 1)}"
            for number in range(ROWS)
        ]
    path.write_text("\n".join(lines))  # its last line has no end, as in the published one
    return path


def costs(path: Path) -> list[int]:
    return [
        round((PRICE[0] * int(line["ContextTokens"]) + PRICE[1] * int(line["GeneratedTokens"])) * 1000)
        for line in csv.DictReader(path.read_text().splitlines())
    ]


@pytest.fixture
def priced(web: WebProcesses) -> WebProcesses:
    services.set_price(
        model="conv", input=Decimal("2.499999999"), output=Decimal("10.000000001"), ceiling=4000, actor=ACTOR
    )
    return web


def run(path: Path, url: str, project: str, *words: str) -> dict[str, Any]:
    out = StringIO()
    words = ("--url", url, "--project", project, "--model", "conv", "--json", *words)
    call_command("replay_trace", str(path), *words, stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def test_without_a_limit_the_portal_s_spend_is_the_sum_of_the_file(trace: Path, priced: WebProcesses) -> None:
    create_project(code="claims", name="Claims", actor=ACTOR)
    answer = run(trace, priced.url, "claims", "--clients", "32", "--run", "whole")
    assert (answer["calls"], answer["admitted"], answer["refused"]) == (ROWS, ROWS, 0)
    assert to_nano(answer["spend"]) == sum(costs(trace))
    again = run(trace, priced.url, "claims", "--clients", "32", "--run", "whole")
    assert (again["calls"], again["admitted"], again["spend"]) == (ROWS, ROWS, answer["spend"])
    jobs.move_usage()
    assert runs.booked("whole") == runs.Booked(ROWS, sum(costs(trace)))
    assert check.reconcile() == {"counters": [], "reserved": [], "roll_ups": []}
    # What the runs were given is audited, and gone.
    for action in (
        Action.GATEWAY_REGISTERED,
        Action.GATEWAY_REVOKED,
        Action.TOKEN_ISSUED,
        Action.TOKEN_REVOKED,
    ):
        entries = AuditEntry.objects.filter(action=action)
        assert entries.count() == 2
        assert all(entry.actor_type == "command" for entry in entries)
    assert not Gateway.objects.active().exists()
    assert not UserToken.objects.active().exists()
    assert not Membership.objects.exists()


def test_a_limit_passed_half_way_is_used_up_and_never_exceeded(trace: Path, priced: WebProcesses) -> None:
    limit = sum(costs(trace)) // 2
    create_project(code="claims", name="Claims", daily_limit=from_nano(limit), actor=ACTOR)
    answer = run(trace, priced.url, "claims", "--clients", "64")
    assert answer["admitted"] + answer["refused"] == ROWS
    assert answer["refusals"] == {"limit_exceeded": answer["refused"]}
    left = limit - to_nano(answer["spend"])
    assert left >= 0
    assert check.reconcile() == {"counters": [], "reserved": [], "roll_ups": []}
    # Now that everything is settled, whatever is refused costs more than what is left.
    jobs.move_usage()
    ids = LedgerRow.objects.values_list("request_id", flat=True)
    admitted = {request_id.rpartition("-")[2] for request_id in ids}
    assert len(admitted) == answer["admitted"]
    refused = [cost for number, cost in enumerate(costs(trace), 1) if str(number) not in admitted]
    assert left < min(refused)


def test_a_run_that_was_killed_goes_on_and_a_portal_that_was_killed_is_waited_for(
    trace: Path, priced: WebProcesses
) -> None:
    create_project(code="claims", name="Claims", actor=ACTOR)
    words = [
        sys.executable,
        "manage.py",
        "replay_trace",
        str(trace),
        "--project",
        "claims",
        "--model",
        "conv",
    ]
    words += ["--url", priced.url, "--run", "cut", "--clients", "8"]
    environment = {**os.environ, "DATABASE_URL": os.environ["TEST_DATABASE_APP_URL"]}
    with subprocess.Popen(words, cwd=env.REPO, env=environment, stdout=subprocess.PIPE) as process:
        wait_for(lambda: runs.booked("cut").calls > 50)
        priced.kill()
        process.send_signal(signal.SIGKILL)
    first = Gateway.objects.get(revoked=None)
    assert valkey.command("ZCARD", "x") >= 0
    with subprocess.Popen(
        [*words, "--json"], cwd=env.REPO, env=environment, stdout=subprocess.PIPE
    ) as process:
        wait_for(lambda: AuditEntry.objects.filter(action=Action.GATEWAY_ROTATED).exists())
        priced.start()
        wait_for(lambda: runs.booked("cut").calls > 600)
        priced.kill()
        priced.start()
        output, _ = process.communicate(timeout=120)
    answer = json.loads(output)
    assert process.returncode == 0
    assert (answer["calls"], answer["admitted"], answer["refused"]) == (ROWS, ROWS, 0)
    assert answer["retries"] > 0
    assert to_nano(answer["spend"]) == sum(costs(trace))
    assert Gateway.objects.get(pk=first.pk).revoked is not None
    assert Gateway.objects.count() == 1
    jobs.move_usage()
    assert check.reconcile() == {"counters": [], "reserved": [], "roll_ups": []}
    assert valkey.command("ZCARD", "x") == 0


def test_an_interrupted_run_reports_what_is_under_way_and_says_how_to_go_on(
    trace: Path, priced: WebProcesses
) -> None:
    create_project(code="claims", name="Claims", actor=ACTOR)
    words = [
        sys.executable,
        "manage.py",
        "replay_trace",
        str(trace),
        "--project",
        "claims",
        "--model",
        "conv",
    ]
    words += ["--url", priced.url, "--run", "stopped", "--json", "--clients", "4"]
    environment = {**os.environ, "DATABASE_URL": os.environ["TEST_DATABASE_APP_URL"]}
    with subprocess.Popen(words, cwd=env.REPO, env=environment, stdout=subprocess.PIPE) as process:
        wait_for(lambda: runs.booked("stopped").calls > 20)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    answer = json.loads(output)
    assert answer["complete"] is False
    assert answer["admitted"] == answer["calls"] < ROWS
    assert not Gateway.objects.active().exists()
    assert valkey.command("ZCARD", "x") == 0
    rest = run(trace, priced.url, "claims", "--run", "stopped", "--clients", "32")
    assert (rest["calls"], rest["admitted"]) == (ROWS, ROWS)
    assert to_nano(rest["spend"]) == sum(costs(trace))


def wait_for(condition: Any, within: float = 60.0) -> None:
    """Ask again and again until it holds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A,B\n1,2\n", "needs the columns"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,x,1\n", "call 1"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nnever,1,1\n", "call 1"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,-1\n", "tokens are"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1\n", "call 1"),
    ],
)
def test_a_file_that_is_no_trace_is_wrong_usage(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(CommandError, match=says) as caught:
        call_command("replay_trace", str(path), "--project", "p", "--model", "m")
    assert caught.value.returncode == 2


def test_wrong_words_are_wrong_usage(tmp_path: Path, trace: Path) -> None:
    for words in (["--run", "a/b"], ["--clients", "0"], ["--speed", "0"]):
        with pytest.raises(CommandError) as caught:
            call_command("replay_trace", str(trace), "--project", "p", "--model", "m", *words)
        assert caught.value.returncode == 2
    with pytest.raises(CommandError) as caught:
        call_command("replay_trace", str(tmp_path / "none.csv"), "--project", "p", "--model", "m")
    assert caught.value.returncode == 2


def test_the_trace_keeps_its_pace(trace: Path) -> None:
    rows = list(replay.read_trace(trace))
    assert [row.number for row in rows] == list(range(1, ROWS + 1))
    assert rows[0].after == 0
    assert rows[-1].after > rows[1].after

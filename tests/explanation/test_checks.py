"""`check_limits` and `reconcile_spend` by hand: what they find, what they repair, how they end."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEntry
from portal.decision import drift as drifting
from portal.decision import health, jobs, valkey
from portal.decision.models import Drift
from portal.decision.services import set_limit
from portal.spend import scopes
from portal.spend.models import LimitAlert
from projects.models import Project
from projects.services import label_of
from tests import factories
from tests.factories import ACTOR


def run(*words: str) -> tuple[dict[str, Any], int]:
    """Run a command with --json; return its answer and exit status."""
    out, status = StringIO(), 0
    try:
        call_command(*words, "--json", stdout=out, stderr=StringIO())
    except SystemExit as end:
        status = int(end.code or 0)
    return json.loads(out.getvalue()), status


@pytest.fixture
def project(clean_state: None) -> Project:
    """A project that has used 85 of its 100 a month."""
    factories.priced()
    made = factories.project("triage", "Triage")
    factories.usage(made, "85")
    set_limit(
        scope_key=scopes.project(made.pk),
        label=label_of(made),
        metric="spend",
        window="month",
        amount="100",
        actor=ACTOR,
    )
    jobs.move_usage()
    return made


def drift(project: Project) -> None:
    """Take the counter of the project away, as no code of ours does."""
    valkey.command("DEL", f"k:p:{project.pk}|spend|month|")


def test_a_limit_that_is_near_is_named_and_raises_each_alert_once(project: Project) -> None:
    answer, status = run("check_limits")
    assert status == 0
    assert [(row["scope"], row["used"], row["limit"], row["percent"]) for row in answer["near"]] == [
        (f"p:{project.pk}", "85", "100", 85)
    ]
    assert (answer["over"], answer["drift"], answer["alerts"]) == ([], [], 2)
    assert run("check_limits")[0]["alerts"] == 0
    assert sorted(LimitAlert.objects.values_list("threshold", flat=True)) == [50, 80]
    assert health.decider().last_check is not None


def test_a_limit_that_is_over_is_written_to_the_audit_log(project: Project) -> None:
    factories.usage(project, "15")
    answer, _ = run("check_limits")
    assert [row["percent"] for row in answer["over"]] == [100]
    assert AuditEntry.objects.filter(action="limit.reached").count() == 1


def test_reconcile_finds_drift_and_check_repairs_it(project: Project) -> None:
    assert run("reconcile_spend") == (
        {"counters": [], "reserved": [], "roll_ups": [], "differences": 0},
        0,
    )
    drift(project)
    answer, status = run("reconcile_spend")
    assert status == 1
    assert answer["differences"] == len(answer["counters"]) == 1
    repaired, _ = run("check_limits")
    assert [row["recorded"] for row in repaired["drift"]] == [85 * 10**9]
    assert Drift.objects.count() == AuditEntry.objects.filter(action="counter.repaired").count() == 1
    assert run("reconcile_spend")[1] == 0


def test_many_counters_are_repaired_with_as_few_questions_as_one(project: Project) -> None:
    patterns = [f"{'gpt-5-mini'[:length]}*" for length in range(1, 11)]
    for number, model in enumerate(patterns):
        set_limit(
            scope_key=scopes.project(project.pk),
            label=label_of(project),
            metric=("spend", "requests", "tokens")[number % 3],
            window="month",
            amount="1000",
            model=model,
            actor=ACTOR,
        )
    asked = {}
    for many in (1, len(patterns)):
        run("check_limits")  # what else there is to tell has been told
        keys = [key for key in valkey.command("KEYS", f"k:p:{project.pk}|*") if key.endswith(b"*")]
        valkey.command("DEL", *keys[:many])
        with (
            mock.patch.object(valkey, "command", wraps=valkey.command) as commands,
            CaptureQueriesContext(connection) as queries,
        ):
            repaired, _ = run("check_limits")
        assert len(repaired["drift"]) == many
        asked[many] = commands.call_count, len(queries)
    # The first also told the administrators, which happens once a day.
    assert asked[len(patterns)] <= asked[1]
    assert Drift.objects.count() == AuditEntry.objects.filter(action="counter.repaired").count() == 11
    assert run("reconcile_spend")[1] == 0
    assert run("verify_audit_log")[1] == 0


def test_with_many_limits_every_counter_is_compared_in_turn(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drifting, "MOST", 2)
    others = [factories.project(f"other-{number}", f"Other {number}") for number in range(4)]
    for other in others:
        factories.usage(other, "7")
        set_limit(
            scope_key=scopes.project(other.pk),
            label=label_of(other),
            metric="spend",
            window="month",
            amount="100",
            actor=ACTOR,
        )
    jobs.move_usage()
    monkeypatch.setattr(drifting, "_JUST_USED", timedelta(0))
    for one in (project, *others):
        drift(one)
    checks = [run("check_limits")[0] for _ in range(3)]
    assert [len(check["drift"]) for check in checks] == [2, 2, 1]
    assert run("reconcile_spend")[1] == 0
    # What was just used does not wait for its turn.
    monkeypatch.setattr(drifting, "_JUST_USED", timedelta(minutes=3))
    monkeypatch.setattr(drifting, "MOST", 4)
    for one in (project, *others):
        drift(one)
    assert len(run("check_limits")[0]["drift"]) >= 4

"""The commands of the areas: names, options, answers and exit status as documented."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apikeys.models import ApiKey
from audit.models import AuditEntry
from groups.models import Group
from portal.accounts.models import Person
from portal.decision.models import Subject
from portal.spend import scopes
from portal.spend.models import Limit, Refusal
from projects.models import Membership, Project
from tests import factories
from tests.factories import Cast
from tokens.models import UserToken

pytestmark = pytest.mark.django_db


def run(*words: str) -> dict[str, Any]:
    """Run a command with --json and return its answer."""
    out = StringIO()
    call_command(*words, "--json", stdout=out, stderr=StringIO())
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def refused(*words: str) -> CommandError:
    """Run a command that is refused and return the error."""
    with pytest.raises(CommandError) as error:
        call_command(*words, stdout=StringIO(), stderr=StringIO())
    return error.value


def test_a_group_is_created_and_deleted() -> None:
    assert run("create_group", "--code", "claims", "--name", "Claims")["code"] == "claims"
    entry = AuditEntry.objects.get(action="group.created")
    assert entry.actor_type == "command"
    assert entry.actor_id.startswith("command:")
    assert refused("create_group", "--code", "claims", "--name", "Again").returncode == 1
    run("delete_group", "claims", "--reason", "merged")
    assert not Group.objects.current().exists()
    assert AuditEntry.objects.get(action="group.deleted").comment == "merged"


def test_a_project_is_created_with_group_owners_and_limits() -> None:
    run("create_group", "--code", "claims", "--name", "Claims")
    run(
        *("create_project", "--code", "triage", "--name", "Triage", "--group", "claims"),
        *("--owner", "bob@northgate.example", "--owner", "eve@northgate.example"),
        *("--daily-limit", "0.5", "--monthly-limit", "12.000000001"),
    )
    project = Project.objects.get(code="triage")
    owners = Membership.objects.filter(project=project, role="owner").values_list("person__email", flat=True)
    assert sorted(owners) == ["bob@northgate.example", "eve@northgate.example"]
    limits = dict(Limit.objects.filter(scope_key=scopes.project(project.pk)).values_list("window", "amount"))
    assert limits == {"day": 500_000_000, "month": 12_000_000_001}


def test_a_project_with_a_bad_limit_is_not_created() -> None:
    error = refused("create_project", "--code", "triage", "--name", "Triage", "--daily-limit", "1.0000000001")
    assert error.returncode == 1
    assert not Project.objects.exists()


def test_a_project_is_paused_and_resumed(cast: Cast) -> None:
    run("set_project_state", "claims-triage", "paused")
    assert Subject.objects.get(pk=f"p:{cast.triage.pk}").data["state"] == "paused"
    run("set_project_state", "claims-triage", "active")
    assert Subject.objects.get(pk=f"p:{cast.triage.pk}").data["state"] == "active"


def test_a_token_for_somebody_unknown_makes_a_member_without_identity(cast: Cast) -> None:
    answer = run("issue_token", "--project", "claims-triage", "--email", "zoe@example.org", "--days", "7")
    assert set(answer) == {"id", "secret", "expires_at"}
    assert answer["secret"].startswith("llmgw_ut_")
    person = Person.objects.get(email="zoe@example.org")
    assert (person.tid, person.oid) == (None, None)
    assert Membership.objects.get(project=cast.triage, person=person).role == "member"
    assert Subject.objects.get(pk=f"s:{answer['id']}").data["is_member"]
    assert (
        run("issue_token", "--project", "claims-triage", "--email", "zoe@example.org")["id"] != answer["id"]
    )
    assert Person.objects.filter(email="zoe@example.org").count() == 1


def test_a_refused_token_makes_nobody_a_member(cast: Cast) -> None:
    words = ("issue_token", "--project", "claims-triage", "--email", "zoe@example.org", "--days", "5000")
    assert refused(*words).returncode == 1
    assert not Person.objects.filter(email="zoe@example.org").exists()


def test_credentials_are_issued_and_revoked(cast: Cast) -> None:
    token = run("issue_token", "--project", "claims-triage", "--email", cast.carol.email)
    key = run("issue_api_key", "--project", "claims-triage", "--name", "intake-batch", "--days", "30")
    assert key["secret"].startswith("llmgw_ak_")
    run("revoke_token", token["id"])
    run("revoke_api_key", key["id"])
    assert UserToken.objects.get().revoked
    assert ApiKey.objects.get().revoked
    assert refused("revoke_token", "nowhere00000").returncode == 1


def test_members_come_and_go(cast: Cast) -> None:
    run("add_member", "--project", "claims-triage", "--email", cast.dave.email)
    run("add_member", "--project", "claims-triage", "--group", "claims")
    assert Membership.objects.filter(project=cast.triage, person=cast.dave).exists()
    assert cast.triage.group_access.get().group == cast.claims
    run("remove_member", "--project", "claims-triage", "--email", cast.dave.email)
    run("remove_member", "--project", "claims-triage", "--group", "claims")
    assert not cast.triage.group_access.exists()
    assert refused("remove_member", "--project", "claims-triage", "--email", cast.bob.email).returncode == 1


def test_a_limit_can_be_set_on_every_scope(cast: Cast) -> None:
    token = run("issue_token", "--project", "claims-triage", "--email", cast.carol.email)["id"]
    key = run("issue_api_key", "--project", "claims-triage", "--name", "intake-batch")["id"]
    project, carol = cast.triage.pk, cast.carol
    wanted = {
        ("--organization",): "o",
        ("--group", "claims"): f"g:{cast.claims.pk}",
        ("--project", "claims-triage"): f"p:{project}",
        ("--project", "claims-triage", "--user", carol.email): f"pu:{project}:{carol.pk}",
        ("--project", "claims-triage", "--each-user"): f"pu:{project}:*",
        ("--project", "claims-triage", "--in-group", "claims"): f"pg:{project}:{cast.claims.pk}",
        ("--user", carol.email): f"u:{carol.pk}",
        ("--each-user",): "u:*",
        ("--token", token): f"c:{token}",
        ("--api-key", key): f"c:{key}",
    }
    for words, scope_key in wanted.items():
        options = ("--metric", "spend", "--window", "day", "--amount", "0.000000001")
        assert run("set_limit", *words, *options)["scope"] == scope_key
        assert Limit.objects.get(scope_key=scope_key).amount == 1
        assert Subject.objects.get(pk=f"l:{scope_key}").data["limits"]
        run("set_limit", *words, "--metric", "spend", "--window", "day", "--amount", "none")
        assert not Limit.objects.filter(scope_key=scope_key).exists()


def test_limits_take_models_modes_and_concurrency(cast: Cast) -> None:
    scope = ("set_limit", "--project", "claims-triage")
    run(
        *scope,
        "--metric",
        "tokens",
        "--window",
        "minute",
        "--amount",
        "900",
        "--model",
        "gpt-*",
        "--mode",
        "observe",
    )
    run(*scope, "--metric", "concurrency", "--amount", "3")
    rows = Limit.objects.filter(scope_key=scopes.project(cast.triage.pk)).order_by("metric")
    assert [(row.metric, row.window, row.model, row.mode) for row in rows] == [
        ("concurrency", "none", "", "enforce"),
        ("tokens", "minute", "gpt-*", "observe"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--organization", "--group", "claims"),
        ("--group", "claims", "--each-user"),
        ("--project", "claims-triage", "--each-user", "--in-group", "claims"),
    ],
)
def test_a_combination_that_names_no_scope_is_wrong_usage(words: tuple[str, ...], cast: Cast) -> None:
    options = ("--metric", "spend", "--window", "day", "--amount", "1")
    assert refused("set_limit", *words, *options).returncode == 2


def test_a_metric_with_a_window_it_has_not_is_refused(cast: Cast) -> None:
    options = ("--metric", "spend", "--window", "minute", "--amount", "1")
    assert refused("set_limit", "--project", "claims-triage", *options).returncode == 1


def test_spend_adds_up_ledger_and_inbox(cast: Cast) -> None:
    factories.usage(cast.triage, "1.000000001", is_moved=True)
    factories.usage(cast.triage, "2", status="failed")
    factories.usage(cast.fraud, "4")
    Refusal.objects.create(
        decision_id="0192f0c1-2345-7000-8000-000000000000",
        occurred="2026-11-24T10:00:00Z",
        count=3,
        code="limit_exceeded",
        gateway="g",
        request_id="r",
        credential="c",
        project=cast.triage.pk,
        group=cast.claims.pk,
        model="gpt-5-mini",
    )
    project = run("spend", "--project", "claims-triage")
    assert project == {
        "calls": 2,
        "input_tokens": 2000,
        "output_tokens": 200,
        "spend": "3.000000001",
        "refused": 3,
    }
    assert run("spend", "--group", "claims") == project
    assert run("spend", "--organization")["spend"] == "7.000000001"
    assert run("spend", "--organization", "--until", "2020-01-01")["calls"] == 0
    assert refused("spend", "--organization", "--since", "yesterday").returncode == 2

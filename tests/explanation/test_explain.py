"""`explain` says which checks and limits would decide a call: live, or at another moment from the record."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from portal.accounts.models import Person
from portal.decision.services import set_limit, set_price
from portal.spend import scopes
from projects.models import Project
from projects.services import label_of, set_project_state, update_project
from tests import factories
from tests.factories import ACTOR
from tokens.models import UserToken
from tokens.services import issue_token, revoke_token

NOW = datetime.now(UTC)
EARLIER = (NOW - timedelta(minutes=1)).isoformat()


class World:
    """A project with one member who holds a token, and a model with a price."""

    def __init__(self) -> None:
        set_price(
            model="gpt-5-mini",
            input=Decimal(1),
            output=Decimal(1),
            effective=NOW - timedelta(days=40),
            actor=ACTOR,
        )
        self.carol: Person = factories.person("Carol Member")
        self.project: Project = factories.project("triage", "Triage", owners=[self.carol])
        self.token: UserToken = issue_token(project=self.project, person=self.carol, actor=ACTOR)[0]

    def limit(self, scope_key: str = "", **fields: Any) -> None:
        """Set a limit, on the project unless said otherwise."""
        values = {"metric": "spend", "window": "day", "amount": "1", **fields}
        key = scope_key or scopes.project(self.project.pk)
        set_limit(scope_key=key, label=label_of(self.project), actor=ACTOR, **values)

    def use(self, spend: str, **fields: Any) -> None:
        """Book a call."""
        factories.usage(
            self.project, spend, person=self.carol, credential=self.token.key_id, is_moved=True, **fields
        )

    def explain(self, *words: str, model: str = "gpt-5-mini") -> dict[str, Any]:
        """Return what the command says."""
        out = StringIO()
        call_command("explain", self.token.key_id, "--model", model, "--json", *words, stdout=out)
        answer: dict[str, Any] = json.loads(out.getvalue())
        return answer


@pytest.fixture
def world(clean_state: None) -> World:
    """The world, on real servers."""
    return World()


def failed(answer: dict[str, Any]) -> list[str]:
    """Return the checks that failed; there is at most one."""
    return [check["check"] for check in answer["checks"] if check["outcome"] == "failed"]


@pytest.mark.parametrize("at", [[], ["--at", EARLIER]])
def test_an_admitted_call_passes_every_check(world: World, at: list[str]) -> None:
    world.limit(amount="5")
    answer = world.explain(*at)
    assert answer["decision"] == "allow"
    assert {check["outcome"] for check in answer["checks"]} == {"passed"}
    assert [(row["scope"], row["limit"], row["binds"]) for row in answer["limits"]] == [
        ("project", "5", False)
    ]
    assert answer["source"] == ("record" if at else "live")


def _revoke(world: World) -> None:
    revoke_token(token=world.token, actor=ACTOR)


def _pause(world: World) -> None:
    set_project_state(project=world.project, state="paused", actor=ACTOR)


def _forbid(world: World) -> None:
    update_project(project=world.project, allowed_models=["gpt-5.1"], actor=ACTOR)


@pytest.mark.parametrize("at", [[], ["--at", EARLIER]])
@pytest.mark.parametrize(
    ("change", "code", "check"),
    [
        (_revoke, "credential_revoked", "credential_active"),
        (_pause, "project_inactive", "project_active"),
        (_forbid, "model_not_allowed", "model_allowed"),
    ],
)
def test_the_first_check_that_fails_is_the_answer(
    world: World, change: Callable[[World], None], code: str, check: str, at: list[str]
) -> None:
    change(world)
    answer = world.explain(*at)
    assert answer["decision"] == code
    assert failed(answer) == [check]
    outcomes = [item["outcome"] for item in answer["checks"]]
    place = outcomes.index("failed")
    assert set(outcomes[:place]) <= {"passed"}
    assert set(outcomes[place + 1 :]) == {"not_reached"}


@pytest.mark.parametrize("at", [[], ["--at", (NOW + timedelta(seconds=1)).isoformat()]])
def test_a_model_without_a_price_is_the_last_check(world: World, at: list[str]) -> None:
    answer = world.explain(*at, model="unheard-of")
    assert answer["decision"] == "model_unpriced"
    assert failed(answer) == ["model_priced"]


def test_of_the_limits_that_fail_the_one_that_resets_last_binds(world: World) -> None:
    world.use("2")
    world.limit(window="day", amount="1")
    world.limit(window="month", amount="2")
    world.limit(metric="requests", window="day", amount="100")
    for at in ([], ["--at", datetime.now(UTC).isoformat()]):
        answer = world.explain(*at)
        assert answer["decision"] == "limit_exceeded"
        rows = {(row["metric"], row["window"]): row for row in answer["limits"]}
        assert [key for key, row in rows.items() if row["binds"]] == [("spend", "month")]
        assert not rows["spend", "day"]["has_room"]
        assert rows["requests", "day"]["has_room"]
        assert (rows["spend", "month"]["used"], rows["spend", "month"]["remaining"]) == ("2", "0")
        assert rows["requests", "day"]["used"] == 1


def test_the_record_tells_the_past_and_what_comes(world: World) -> None:
    day = timedelta(days=1)
    world.use("2", moment=NOW - day)
    world.limit(window="day", amount="1")
    yesterday = world.explain("--at", (NOW - day + timedelta(seconds=1)).isoformat())
    before = world.explain("--at", (NOW - day - timedelta(seconds=1)).isoformat())
    later = world.explain("--at", (NOW + 2 * day).isoformat())
    assert (yesterday["decision"], yesterday["limits"][0]["used"]) == ("limit_exceeded", "2")
    assert (before["decision"], before["limits"][0]["used"]) == ("allow", "0")
    assert (later["decision"], later["limits"][0]["used"]) == ("allow", "0")


def test_the_limit_of_a_named_user_replaces_the_general_one(world: World) -> None:
    world.use("2")
    general, named = (
        scopes.project_each_user(world.project.pk),
        scopes.project_user(world.project.pk, world.carol.pk),
    )
    world.limit(general, amount="1")
    assert world.explain("--at", datetime.now(UTC).isoformat())["decision"] == "limit_exceeded"
    world.limit(named, amount="10")
    for at in ([], ["--at", datetime.now(UTC).isoformat()]):
        answer = world.explain(*at)
        assert answer["decision"] == "allow"
        assert [row["limit"] for row in answer["limits"]] == ["10"]


def test_a_limit_that_observes_refuses_nothing(world: World) -> None:
    world.use("2")
    world.limit(mode="observe")
    for at in ([], ["--at", datetime.now(UTC).isoformat()]):
        answer = world.explain(*at)
        assert answer["decision"] == "allow"
        assert (answer["limits"][0]["has_room"], answer["limits"][0]["mode"]) == (False, "observe")


def test_it_is_told_in_words(world: World) -> None:
    world.use("2")
    world.limit()
    out = StringIO()
    call_command("explain", world.token.key_id, "--model", "gpt-5-mini", stdout=out)
    assert "Project Triage: spend per day: 2 used and 0 held of 1" in out.getvalue()
    assert "<- binds" in out.getvalue()
    assert "Refused: limit_exceeded." in out.getvalue()


def test_an_unknown_credential_is_a_finding_and_a_bad_moment_wrong_usage(world: World) -> None:
    with pytest.raises(SystemExit) as end:
        call_command("explain", "nothing", "--model", "gpt-5-mini", stdout=StringIO())
    assert end.value.code == 1
    for moment in ("yesterday", "2026-13-45T00:00:00Z"):
        with pytest.raises(CommandError) as error:
            world.explain("--at", moment)
        assert error.value.returncode == 2

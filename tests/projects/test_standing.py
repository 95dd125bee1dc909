"""The standings and their totals: whatever happens, the totals are the sum of the rows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.decision.services import set_limit
from portal.spend import scopes
from projects import standing
from projects.deletion import delete_project
from projects.models import ProjectStanding
from projects.services import set_project_state
from projects.standing import Totals, totals
from tests import factories
from tests.factories import ACTOR, Cast
from tokens.models import UserToken
from tokens.services import issue_token, revoke_token

pytestmark = pytest.mark.django_db
NONE = Totals()


def added_up() -> dict[str, Totals]:
    """Return the totals as the rows make them, states without projects left out."""
    return {state: found for state, found in totals(ProjectStanding.objects.all()).items() if found != NONE}


def kept() -> dict[str, Totals]:
    """Return the totals as they are kept, likewise."""
    return {state: found for state, found in totals().items() if found != NONE}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["spend", "limit", "token", "revoke", "pause", "resume", "archive"]),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_totals_are_the_sum_of_the_standings(cast: Cast, steps: list[tuple[str, int]]) -> None:
    states = {"pause": "paused", "resume": "active", "archive": "archived"}
    for step, number in steps:
        project = (cast.triage, cast.fraud)[number]
        project.refresh_from_db()
        if step == "spend":
            factories.usage(project, "9", is_moved=True)
        elif step == "limit":
            key = scopes.project(project.pk)
            set_limit(
                scope_key=key, label="x", metric="spend", window="month", amount=10 + number, actor=ACTOR
            )
        elif step == "token" and project.state == "active":
            issue_token(project=project, person=(cast.bob, cast.dave)[number], name="x", actor=ACTOR)
        elif step == "revoke" and (token := UserToken.objects.filter(project=project, revoked=None).first()):
            revoke_token(token=token, actor=ACTOR)
        elif step in states and project.state != states[step]:
            set_project_state(project=project, state=states[step], actor=ACTOR)
        standing.catch_up()
        assert kept() == added_up()


def test_a_deleted_project_leaves_the_totals(cast: Cast) -> None:
    empty = factories.project("empty", "Empty")
    standing.catch_up()
    before = kept()["active"].projects
    delete_project(project=empty, actor=ACTOR)
    standing.catch_up()
    assert kept()["active"].projects == before - 1
    assert kept() == added_up()


def test_the_end_of_a_token_is_noticed_by_the_clock(cast: Cast) -> None:
    token, _ = issue_token(project=cast.triage, person=cast.carol, name="x", actor=ACTOR)
    standing.catch_up()
    assert ProjectStanding.objects.get(pk=cast.triage.pk).tokens == 1
    past: Any = datetime.now(UTC) - timedelta(seconds=1)
    UserToken.objects.filter(pk=token.pk).update(expires=past)
    ProjectStanding.objects.filter(pk=cast.triage.pk).update(stale_from=past)
    standing.catch_up_with_time()
    assert ProjectStanding.objects.get(pk=cast.triage.pk).tokens == 0
    assert kept() == added_up()

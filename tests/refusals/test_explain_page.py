"""The page that explains any decision: now, at a past moment and one to come, for those who see the credential."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from portal.decision.services import set_limit
from portal.decision.subjects import put_configuration
from portal.spend import scopes
from portal.spend.models import Price
from projects.services import set_project_state
from tests import factories
from tests.factories import ACTOR
from tokens.services import issue_token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def people(clean_state: None) -> Any:
    """Return the cast, with what the decision knows of them published."""
    return factories.cast()


def ask(browser: Any, **query: str) -> Any:
    return browser.get(
        "/refusals/explain/",
        {"model": "gpt-5-mini", "input_tokens": "1000", "max_output_tokens": "1000"} | query,
    )


def test_what_decides_now_and_who_set_it(people: Any, browse: Any) -> None:
    factories.priced()
    token, _ = issue_token(project=people.triage, person=people.carol, name="x", actor=ACTOR)
    key = scopes.project(people.triage.pk)
    set_limit(
        scope_key=key, label="Project Claims triage", metric="requests", window="day", amount=0, actor=ACTOR
    )
    page = ask(browse(people.alice), credential=token.key_id).content.decode()
    assert "HTTP 429" in page
    assert "Project Claims triage" in page
    assert f"Set by {ACTOR.display}" in page
    assert ask(browse(people.carol), credential=token.key_id).status_code == 200
    assert ask(browse(people.dave), credential=token.key_id).status_code == 422


def test_a_past_moment_counts_what_was_used_then(people: Any, browse: Any) -> None:
    factories.priced()
    token, _ = issue_token(project=people.triage, person=people.carol, name="x", actor=ACTOR)
    now = datetime.now(UTC)
    then = now - timedelta(days=2)
    Price.objects.update(effective=then - timedelta(days=1))
    with transaction.atomic():
        put_configuration()
    factories.usage(people.triage, "5", moment=then - timedelta(minutes=5), is_moved=True)
    key = scopes.project(people.triage.pk)
    set_limit(
        scope_key=key, label="Project Claims triage", metric="spend", window="month", amount=5, actor=ACTOR
    )
    browser = browse(people.alice)
    before = (then - timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M")
    assert "would have gone ahead" in ask(browser, credential=token.key_id, at=before).content.decode()
    if then.month == now.month:
        later = (then + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M")
        assert "HTTP 429" in ask(browser, credential=token.key_id, at=later).content.decode()


def test_a_check_that_fails_leaves_the_rest_unreached(people: Any, browse: Any) -> None:
    factories.priced()
    token, _ = issue_token(project=people.triage, person=people.carol, name="x", actor=ACTOR)
    set_project_state(project=people.triage, state="paused", actor=ACTOR)
    page = ask(browse(people.alice), credential=token.key_id).content.decode()
    assert "Not reached: </span>Model is allowed" in page
    assert "HTTP 403" in page


def test_nonsense_is_told_beside_its_field(cast: Any, browse: Any) -> None:
    browser = browse(cast.alice)
    for query, field in (
        ({"credential": "nothing"}, "credential"),
        ({"credential": "x", "model": ""}, "model"),
        ({"credential": "x", "at": "never"}, "at"),
        ({"credential": "x", "input_tokens": "-1"}, "input_tokens"),
    ):
        answer = ask(browser, **query)
        assert answer.status_code == 422
        assert field in answer.context["form"].errors

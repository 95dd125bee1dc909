"""On the day on which the time zone is changed, credentials' pages count the same day as the limits do."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.test import Client

from apikeys.services import issue_api_key
from portal.accounts.models import Person
from portal.decision.services import set_limit, update_organization
from portal.spend import scopes
from tests import factories
from tests.factories import Cast
from tokens.services import issue_token

Browse = Callable[[Person], Client]


def zone_of_another_day() -> str:
    """Return a zone in which it is not the day that it is in UTC."""
    return "Pacific/Kiritimati" if datetime.now(UTC).hour >= 12 else "Etc/GMT+12"


@pytest.fixture
def credentials(cast: Cast) -> list[tuple[str, str]]:
    """Return a token and a key used today, each with a daily limit, after a change of zone."""
    factories.priced()
    token, _ = issue_token(project=cast.triage, person=cast.carol, actor=factories.ACTOR)
    key, _ = issue_api_key(project=cast.triage, name="intake", actor=factories.ACTOR)
    for credential in (token, key):
        scope = scopes.credential(credential.key_id)
        set_limit(
            scope_key=scope, label=scope, metric="spend", window="day", amount=20, actor=factories.ACTOR
        )
        factories.usage(cast.triage, "3.21", person=cast.carol, credential=credential.key_id)
    update_organization(time_zone=zone_of_another_day(), actor=factories.ACTOR)
    return [("tokens", token.key_id), ("keys", key.key_id)]


def test_pages_of_credentials_keep_the_day_that_is_under_way(
    cast: Cast, browse: Browse, credentials: list[tuple[str, str]]
) -> None:
    today = datetime.now(UTC).date()
    alice = browse(cast.alice)
    for area, key_id in credentials:
        page = alice.get(f"/{area}/{key_id}/")
        assert page.status_code == 200
        assert page.context["used"].today == 3_210_000_000, area
        assert page.context["entries"], "what was done is shown, with its moments"
        levels = alice.get(f"/{area}/{key_id}/limits/").context["levels"]
        assert levels[-1].today == 3_210_000_000, area
        assert f"-{today}.csv" in alice.get(f"/{area}/export/")["Content-Disposition"]
    rows = alice.get("/projects/claims-triage/tokens/").context["page"].rows
    assert [row.today for row in rows] == [3_210_000_000]


def test_what_was_done_is_read_after_a_change_of_zone(cast: Cast, browse: Browse) -> None:
    update_organization(time_zone=zone_of_another_day(), actor=factories.ACTOR)
    issue_token(project=cast.triage, person=cast.carol, actor=factories.ACTOR)
    alice = browse(cast.alice)
    for address in ("/projects/claims-triage/activity/", "/projects/claims-triage/activity/export/"):
        answer = alice.get(address)
        assert answer.status_code == 200
        assert b"expires" in b"".join(answer if answer.streaming else [answer.content])

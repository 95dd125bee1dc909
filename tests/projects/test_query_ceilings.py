"""No page asks the database more because there is more to show."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apikeys.services import issue_api_key
from portal.accounts.models import Person
from projects.services import add_member
from tests import factories
from tests.factories import Cast
from tokens.services import issue_token

Browse = Callable[[Person], Client]

CEILINGS = {
    "/projects/": 24,
    "/projects/claims-triage/": 36,
    "/projects/claims-triage/tokens/": 22,
    "/projects/claims-triage/keys/": 22,
    "/projects/claims-triage/members/": 24,
    "/projects/claims-triage/limits/": 31,
    "/projects/claims-triage/activity/": 22,
    "/groups/": 19,
    "/groups/claims/": 38,
    "/tokens/": 17,
    "/keys/": 14,
}


def fill(cast: Cast, number: int) -> None:
    """Add a project, people, credentials and usage."""
    made = factories.project(f"more-{number}", group=cast.claims, owners=[cast.bob])
    person = factories.person(f"Person {number}")
    add_member(project=cast.triage, person=person, actor=factories.ACTOR)
    token, _ = issue_token(project=cast.triage, person=person, actor=factories.ACTOR)
    issue_api_key(project=cast.triage, name=f"key-{number}", owner=person, actor=factories.ACTOR)
    factories.usage(cast.triage, "1", person=person, credential=token.key_id)
    factories.usage(made, "1")


@pytest.mark.parametrize("path", CEILINGS)
def test_more_rows_cost_no_more_queries(path: str, cast: Cast, browse: Browse) -> None:
    client, counts = browse(cast.alice), []
    for start in (0, 2):
        for number in range(start, start * 4 + 2):
            fill(cast, number)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert counts[1] <= CEILINGS[path]

"""Every page of projects, groups and credentials opens for those who may see it, and for nobody else."""

from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import Person
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]

# path, then the status for Alice, Bob, Carol, Dave, Erin
PAGES = [
    ("/projects/", 200, 200, 200, 200, 200),
    ("/projects/export/", 200, 200, 200, 200, 200),
    ("/projects/new/", 200, 403, 403, 403, 403),
    ("/projects/new/code/?name=A+b", 200, 403, 403, 403, 403),
    ("/projects/claims-triage/", 200, 200, 200, 404, 200),
    ("/projects/claims-triage/tokens/", 200, 200, 200, 404, 200),
    ("/projects/claims-triage/keys/", 200, 200, 200, 404, 200),
    ("/projects/claims-triage/members/", 200, 200, 200, 404, 200),
    ("/projects/claims-triage/members/add/", 200, 200, 403, 404, 403),
    ("/projects/claims-triage/groups/add/", 200, 200, 403, 404, 403),
    ("/projects/claims-triage/limits/", 200, 200, 200, 404, 200),
    ("/projects/claims-triage/activity/", 200, 200, 403, 404, 200),
    ("/projects/claims-triage/settings/", 200, 200, 403, 404, 403),
    ("/projects/claims-triage/state/paused/", 200, 200, 403, 404, 403),
    ("/projects/claims-triage/state/archived/", 200, 200, 403, 404, 403),
    ("/projects/nowhere/", 404, 404, 404, 404, 404),
    ("/groups/", 200, 403, 403, 403, 200),
    ("/groups/new/", 200, 403, 403, 403, 403),
    ("/groups/claims/", 200, 403, 403, 403, 200),
    ("/groups/claims/delete/", 200, 403, 403, 403, 403),
    ("/groups/nowhere/", 404, 403, 403, 403, 404),
    ("/tokens/", 200, 200, 200, 200, 200),
    ("/tokens/export/", 200, 200, 200, 200, 200),
    ("/tokens/issue/", 200, 200, 200, 200, 403),
    ("/tokens/issue/?project=claims-triage", 200, 200, 200, 404, 403),
    ("/keys/", 200, 200, 200, 200, 200),
    ("/keys/export/", 200, 200, 200, 200, 200),
    ("/keys/issue/?project=claims-triage", 200, 200, 403, 404, 403),
]


@pytest.mark.parametrize(("path", "statuses"), [(row[0], row[1:]) for row in PAGES])
def test_a_page_opens_for_those_who_may_see_it(
    path: str, statuses: tuple[int, ...], cast: Cast, browse: Browse
) -> None:
    factories.usage(cast.triage, "12.50", person=cast.carol)
    people = (cast.alice, cast.bob, cast.carol, cast.dave, cast.erin)
    for who, status in zip(people, statuses, strict=True):
        for headers in ({}, {"HX-Request": "true"}):
            answer = browse(who).get(path, headers=headers)
            assert answer.status_code == status, f"{who} {headers}"
            if status == 200:
                assert answer["Cache-Control"] == "no-store"

"""Who looks at the log, at all people, or takes a list out, is on record: a look once an hour, an export each time."""

from collections.abc import Callable
from datetime import timedelta
from unittest import mock

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit import services
from audit.actions import Action
from audit.models import AuditEntry
from portal.accounts.models import Person
from tests.factories import Cast

Browse = Callable[[Person], Client]
LOOKS = [("/audit/", Action.AUDIT_VIEWED), ("/accounts/people/", Action.LIST_VIEWED)]
EXPORTS = {
    "/accounts/people/export/": "people",
    "/tokens/export/": "user tokens",
    "/keys/export/": "API keys",
    "/requests/export/all/": "requests",
    "/settings/roles/review/export/": "granted roles",
}


def looks(action: Action, person: Person) -> int:
    return AuditEntry.objects.filter(action=action, actor_id=str(person.pk)).count()


@pytest.mark.parametrize(("page", "action"), LOOKS)
def test_a_look_is_on_record_once_for_each_person_and_hour(
    page: str, action: Action, cast: Cast, browse: Browse
) -> None:
    for person in (cast.alice, cast.erin):
        client = browse(person)
        for query in ("", "?q=claims", ""):
            assert client.get(page + query).status_code == 200
        assert looks(action, person) == 1
    with mock.patch.object(services, "_VIEW_LASTS", timedelta(0)):
        browse(cast.erin).get(page)
    assert looks(action, cast.erin) == 2


@pytest.mark.parametrize(("page", "action"), LOOKS)
def test_looking_again_asks_the_index_once_and_writes_nothing(
    page: str, action: Action, cast: Cast, browse: Browse
) -> None:
    client = browse(cast.alice)
    client.get(page)
    with CaptureQueriesContext(connection) as queries:
        client.get(page)
    ours = [query["sql"] for query in queries if action.value in query["sql"]]
    assert len(ours) == 1
    assert ours[0].startswith("SELECT 1")


def test_who_may_not_look_leaves_a_refusal_and_no_look(cast: Cast, browse: Browse) -> None:
    assert browse(cast.bob).get("/accounts/people/").status_code == 403
    assert looks(Action.LIST_VIEWED, cast.bob) == 0


@pytest.mark.parametrize("page", EXPORTS)
def test_each_list_that_is_taken_out_is_on_record(page: str, cast: Cast, browse: Browse) -> None:
    assert browse(cast.alice).get(page + "?q=claims").status_code == 200
    entry = AuditEntry.objects.get(action=Action.LIST_EXPORTED)
    assert (entry.actor_id, entry.target_id) == (str(cast.alice.pk), EXPORTS[page])
    assert entry.changes["filters"] == [None, "q=claims"]

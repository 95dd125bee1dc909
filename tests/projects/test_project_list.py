"""The list of projects: whose, how filtered, at what cost."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision.services import set_limit
from portal.spend import scopes
from projects.services import label_of, set_project_state
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]
CEILING = 26


def names(client: Client, query: str = "") -> set[str]:
    """Return the codes that the list shows."""
    rows = client.get(f"/projects/{query}").context["page"].rows
    return {row.code for row in rows}


def test_everybody_sees_their_own_projects_and_readers_all(cast: Cast, browse: Browse) -> None:
    assert names(browse(cast.alice)) == names(browse(cast.erin)) == {"claims-triage", "fraud-notes"}
    assert names(browse(cast.bob)) == names(browse(cast.carol)) == {"claims-triage"}
    assert names(browse(cast.dave)) == {"fraud-notes"}


def test_spend_is_shown_before_it_has_left_the_inbox(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "1.25", is_moved=True)
    factories.usage(cast.triage, "2.50")
    row = browse(cast.bob).get("/projects/").context["page"].rows[0]
    assert (row.today, row.month) == (3_750_000_000, 3_750_000_000)


def test_filters_narrow_the_list(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    set_limit(
        scope_key=scopes.project(cast.triage.pk),
        label=label_of(cast.triage),
        metric="spend",
        window="month",
        amount=10,
        actor=factories.ACTOR,
    )
    factories.usage(cast.triage, "8.5", is_moved=True)
    set_project_state(project=cast.fraud, state="archived", actor=factories.ACTOR)
    assert names(alice) == {"claims-triage"}
    assert names(alice, "?state=archived") == {"fraud-notes"}
    assert names(alice, "?state=near") == {"claims-triage"}
    assert names(alice, "?state=blocked") == set()
    assert names(alice, "?group=claims") == {"claims-triage"}
    assert names(alice, "?owner=Bob+Owner") == {"claims-triage"}
    assert names(alice, "?q=fraud&state=archived") == {"fraud-notes"}
    assert names(alice, "?q=nothing+like+it") == set()
    above = alice.get("/projects/").context["figures"]
    assert (above.active, above.near, above.blocked, above.archived) == (1, 1, 0, 1)
    assert (above.month, above.month_limits) == (8_500_000_000, 10 * 10**9)


def test_a_tag_or_the_address_of_an_owner_finds_projects(cast: Cast, browse: Browse) -> None:
    factories.project("pilot-chat", tags=["Pilot", "chat"], owners=[cast.carol])
    alice = browse(cast.alice)
    assert names(alice, "?tag=PILOT") == {"pilot-chat"}
    assert names(alice, "?owner=carol@northgate.example") == {"pilot-chat"}


@pytest.mark.parametrize("sort", ["name", "group", "today", "month", "share", "credentials", "used"])
def test_the_list_is_sorted_and_paged_by_every_column(sort: str, cast: Cast, browse: Browse) -> None:
    for number in range(4):
        made = factories.project(f"more-{number}", daily_limit="10", owners=[cast.carol])
        factories.usage(made, str(number), is_moved=True)
    alice = browse(cast.alice)
    for direction in ("", "-"):
        whole = [row.code for row in alice.get(f"/projects/?sort={direction}{sort}").context["page"].rows]
        assert len(whole) == 6
        if sort == "share" and direction:
            assert whole[:3] == ["more-3", "more-2", "more-1"]


def test_an_export_is_written_down(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.alice).get("/projects/export/?state=paused")
    assert b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    entry = AuditEntry.objects.get(action="list.exported")
    assert entry.changes == {"filters": [None, "state=paused"], "rows": [None, 0]}


def test_htmx_gets_the_region_alone(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.alice).get("/projects/", headers={"HX-Request": "true"})
    page = answer.content.decode()
    assert page.lstrip().startswith('<div class="region" id="project-table"')
    assert "HX-Request" in answer["Vary"]


def test_the_export_holds_what_the_filter_shows(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "1.000000001")
    answer = browse(cast.alice).get("/projects/export/?q=triage")
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2
    assert lines[1].startswith("claims-triage,Claims triage,Claims,Bob Owner,active,1.000000001")


def test_ten_projects_cost_no_more_queries_than_two(cast: Cast, browse: Browse) -> None:
    client = browse(cast.alice)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get("/projects/").status_code == 200
        counts.append(len(queries))
        for number in range(8):
            made = factories.project(f"more-{len(counts)}-{number}", owners=[cast.bob])
            factories.usage(made, "1")
    assert counts[0] == counts[1] <= CEILING

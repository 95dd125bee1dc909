"""The monitoring page shows what was used, how near limits are, and how the gateway is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from groups.services import label_of as group_label
from portal.accounts.models import Person
from portal.decision.lost import count_lost
from portal.decision.models import Rebuild
from portal.decision.services import set_limit
from portal.lib.money import to_nano
from portal.lib.uuid7 import uuid7
from portal.notifications.models import Kind
from portal.notifications.services import notify
from portal.spend import scopes
from portal.spend.models import Refusal
from projects import standing
from projects.services import label_of, set_project_state
from tests import factories
from tests.factories import ACTOR, Cast

Browse = Callable[[Person], Client]

CEILING = 58


def figures(client: Client, part: str) -> dict[str, Any]:
    """Return what a part of the page shows."""
    answer = client.get("/")
    assert answer.status_code == 200
    found = answer.context["parts"][part]
    assert not found.failure
    data: dict[str, Any] = found.data
    return data


def limit_project(cast: Cast, amount: str, window: str = "month") -> None:
    """Set a spend limit on Claims triage."""
    key, label = scopes.project(cast.triage.pk), label_of(cast.triage)
    set_limit(scope_key=key, label=label, metric="spend", window=window, amount=amount, actor=ACTOR)


def refuse(cast: Cast, moment: datetime, count: int = 1, binding: str = "", **fields: Any) -> None:
    """Put a refused call on record."""
    Refusal.objects.create(
        decision_id=uuid7(),
        occurred=moment,
        count=count,
        code="limit_exceeded",
        gateway="gateway00000",
        request_id=uuid4().hex,
        credential="credential00",
        project=cast.triage.pk,
        model="gpt-5-mini",
        binding=binding,
        **fields,
    )


def test_spend_of_today_counts_what_still_waits_in_the_inbox(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "12.5", is_moved=True)
    factories.usage(cast.fraud, "1.25")
    tiles = figures(browse(cast.alice), "tiles")
    assert tiles["today"] == tiles["month"] == to_nano("13.75")
    assert (tiles["active"], tiles["projects"]) == (2, 2)
    assert tiles["month_limit"] is None


def test_a_limit_of_the_organization_stands_beside_its_spend(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "95")
    set_limit(
        scope_key=scopes.ORGANIZATION,
        label="Northgate",
        metric="spend",
        window="month",
        amount=100,
        actor=ACTOR,
    )
    page = browse(cast.alice).get("/").content.decode()
    assert "95% of $100" in page
    assert "reaches its monthly limit" in page or "reach its monthly limit" in page


def test_limits_near_and_over_are_listed_the_most_used_first(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "85", is_moved=True)
    limit_project(cast, "100")
    limit_project(cast, "50", window="day")
    set_limit(
        scope_key=scopes.group(cast.claims.pk),
        label=group_label(cast.claims),
        metric="spend",
        window="month",
        amount=90,
        actor=ACTOR,
    )
    refuse(cast, datetime.now(UTC), binding=f"p:{cast.triage.pk}|spend|day|")
    rows = figures(browse(cast.alice), "near")["rows"]
    assert [(row.subject.name, row.window) for row in rows] == [
        ("Claims triage", "day"),
        ("Group Claims", "month"),
        ("Claims triage", "month"),
    ]
    assert rows[0].is_over
    assert rows[0].refusing_since is not None
    assert not rows[2].is_over


def test_a_limit_with_room_is_not_listed(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "79.99")
    limit_project(cast, "100")
    assert figures(browse(cast.alice), "near")["rows"] == []


def test_a_paused_project_is_called_paused(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "100", is_moved=True)
    limit_project(cast, "100")
    set_project_state(project=cast.triage, state="paused", actor=ACTOR)
    page = browse(cast.alice).get("/").content.decode()
    assert "Paused" in page
    assert "Blocked" not in page


def test_each_minute_counts_served_failed_and_refused(cast: Cast, browse: Browse) -> None:
    now = datetime.now(UTC)
    began = now.replace(second=0, microsecond=0)
    factories.usage(cast.triage, "1", moment=began - timedelta(minutes=3), is_moved=True)
    factories.usage(cast.triage, "1", moment=began - timedelta(minutes=3), status="failed")
    factories.usage(cast.triage, "1", moment=began - timedelta(minutes=61))
    refuse(cast, began - timedelta(minutes=3), count=7)
    refuse(cast, began - timedelta(minutes=3), count=5, is_observed=True)
    chart = figures(browse(cast.alice), "requests")["chart"]
    assert len(chart.rows) == 60
    assert [cells for _, cells in chart.rows if cells != ["0", "0", "0"]] == [["1", "7", "1"]]


def test_models_add_up_to_the_total_of_today(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "2", model="gpt-5.1")
    factories.usage(cast.fraud, "3", model="gpt-5-mini")
    models = figures(browse(cast.alice), "models")
    assert [name for name, _ in models["rows"]] == ["gpt-5-mini", "gpt-5.1"]
    assert models["total"].spend == sum(usage.spend for _, usage in models["rows"]) == to_nano("5")


def test_reservations_that_a_rebuild_forgot_are_counted_as_lost(cast: Cast, browse: Browse) -> None:
    now = datetime.now(UTC)
    Rebuild.objects.all().delete()
    Rebuild.objects.create(
        reason="lost", started=now - timedelta(minutes=6), finished=now - timedelta(minutes=5)
    )
    # A second one soon after it: what both may have forgotten counts once.
    Rebuild.objects.create(
        reason="lost", started=now - timedelta(minutes=5), finished=now - timedelta(minutes=4.5)
    )
    before, after = now - timedelta(minutes=7), now - timedelta(minutes=4)
    factories.usage(cast.triage, "1", moment=before, arrived=after, reserved=to_nano("1.5"), is_moved=True)
    factories.usage(cast.triage, "1", moment=before, arrived=before, reserved=to_nano("1.5"), is_moved=True)
    factories.usage(cast.triage, "1", moment=after, arrived=after, reserved=to_nano("1.5"), is_moved=True)
    factories.usage(cast.triage, "1", moment=before, arrived=after, is_moved=True)
    count_lost()
    health = figures(browse(cast.alice), "health")["health"]
    assert (health.lost.calls, health.lost.reserved) == (1, to_nano("1.5"))
    assert health.rebuilds == 2
    assert health.decider is not None


def test_others_see_their_projects_and_nothing_of_the_rest(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "12")
    factories.usage(cast.fraud, "40")
    factories.usage(cast.fraud, "1", moment=datetime.now(UTC) - timedelta(minutes=1))
    for who in (cast.bob, cast.carol):
        page = browse(who).get("/")
        assert page.context["parts"]["tiles"].data["month"] == to_nano("12")
        assert "Fraud notes" not in page.content.decode()
        assert "health" not in page.context["parts"]
        served = [int(cells[0]) for _, cells in page.context["parts"]["requests"].data["chart"].rows]
        assert sum(served) == 1
    assert figures(browse(cast.erin), "tiles")["month"] == to_nano("53")


def test_the_live_part_is_the_region_and_asks_again(cast: Cast, browse: Browse) -> None:
    region = browse(cast.alice).get("/", headers={"HX-Request": "true"}).content.decode()
    assert region.lstrip().startswith('<div id="figures"')
    assert 'hx-swap-oob="true"' in region
    assert 'hx-trigger="every 10s"' in region
    paused = browse(cast.alice).get("/?pause=1").content.decode()
    assert "every 10s" not in paused
    assert "Paused at" in paused


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_more_projects_cost_no_more_queries(cast: Cast, browse: Browse, headers: dict[str, str]) -> None:
    client, counts = browse(cast.alice), []
    for start in (0, 2):
        for number in range(start, start * 4 + 2):
            project = factories.project(f"more-{number}", group=cast.claims, owners=[cast.bob])
            factories.usage(project, "9", is_moved=True)
            key, label = scopes.project(project.pk), label_of(project)
            set_limit(scope_key=key, label=label, metric="spend", window="month", amount=10, actor=ACTOR)
        standing.catch_up()
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/", headers=headers).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert counts[1] <= CEILING


def test_alerts_not_seen_yet_are_told_of(cast: Cast, browse: Browse) -> None:
    for number in range(2):
        notify(
            Kind.THRESHOLD,
            title=f"Claims triage: alert {number}",
            text="…",
            link="/alerts/",
            people=[cast.bob],
            once=str(number),
        )
    page = browse(cast.bob).get("/").content.decode()
    assert "Claims triage: alert 1" in page
    assert "2 not seen yet" in page
    assert "Nothing to tell you." in browse(cast.dave).get("/").content.decode()

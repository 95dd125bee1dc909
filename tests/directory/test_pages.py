"""The pages about the directory: its state, a run by hand, and what somebody leaves."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from apikeys.models import ApiKey
from apikeys.services import issue_api_key
from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision.services import set_limit
from portal.directory.models import DirectoryState, SyncRun
from portal.directory.services import depart
from portal.directory.tasks import sync_directory
from portal.limits.requests import ask_for_raise
from portal.spend import scopes
from projects.services import create_project
from tests import factories
from tests.factories import Cast
from tests.identity_fixtures import StandIn, known
from tokens.services import issue_token

Browse = Callable[[Person], Client]
HTMX = {"HX-Request": "true"}


def test_operator_asks_for_a_run_and_sees_how_it_ends(db: None, browse: Browse, standin: StandIn) -> None:
    lars = known(standin, "lars.holt")
    lars.role_grants.create(role="operator", source="portal")
    operator = browse(lars)

    answer = operator.post("/directory/sync/", headers=HTMX)

    assert answer.status_code == 204
    assert '"directory-sync": true' in answer["HX-Trigger"]
    waiting = operator.get("/directory/status/", headers=HTMX).content.decode()
    assert "Waiting for its turn" in waiting
    assert ", every 2s" in waiting
    assert DirectoryState.objects.get().wanted_by.startswith("Lars Holt")
    assert AuditEntry.objects.get(action="directory.asked").actor_display.startswith("Lars Holt")

    sync_directory()

    page = operator.get("/directory/status/", headers=HTMX).content.decode()
    assert "In step, as of" in page
    assert "every 2s" not in page
    assert SyncRun.objects.get().asked_by.startswith("Lars Holt")


def test_run_that_goes_on_shows_its_step_and_a_failed_one_its_reason(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    assert "Not synchronized yet" in alice.get("/accounts/people/").content.decode()
    run = SyncRun.objects.create(step="Reading people: 300")
    assert "Reading people: 300" in alice.get("/accounts/people/").content.decode()
    run.outcome, run.problem, run.finished = "failed", "Microsoft Graph does not answer.", timezone.now()
    run.save()

    page = alice.get("/accounts/people/").content.decode()

    assert "Not in step" in page
    assert "Microsoft Graph does not answer." in page


def test_page_of_a_person_who_left_lists_what_they_leave_and_hands_it_over(
    standin: StandIn, db: None, browse: Browse
) -> None:
    alice, bob = factories.person("Alice Admin", role="admin"), factories.person("Bob Owner")
    other = factories.person("Dora Owner")
    alone = create_project(code="alone", name="Alone", owners=[bob], actor=factories.ACTOR)
    create_project(code="shared", name="Shared", owners=[bob, other], actor=factories.ACTOR)
    key, _ = issue_api_key(project=alone, name="CRM key", owner=bob, actor=factories.ACTOR)
    issue_token(project=alone, person=bob, actor=factories.ACTOR)
    depart(person=bob, because="deleted", actor=factories.ACTOR)
    admin = browse(alice)

    page = admin.get(f"/accounts/people/{bob.pk}/").content.decode()

    assert "No longer in the directory" in page
    assert "1 user token is suspended" in page
    listed = page[page.index('id="h-left"') : page.index('id="h-sources"')]
    assert "Alone" in listed
    assert "CRM key" in listed
    assert "Shared" not in listed
    priya = standin.person("priya.raman")["id"]
    assert admin.post(f"/directory/people/{bob.pk}/hand-over/", {}).status_code == 422

    answer = admin.post(f"/directory/people/{bob.pk}/hand-over/", {"person": priya, "reason": "team lead"})

    assert answer["Location"] == f"/accounts/people/{bob.pk}/"
    heir = Person.objects.get(name="Priya Raman")
    assert alone.memberships.get(person=heir).role == "owner"
    assert ApiKey.objects.get(pk=key.pk).owner == heir
    assert AuditEntry.objects.filter(comment="team lead").count() == 2
    assert "Nothing that somebody has to take over" in admin.get(answer["Location"]).content.decode()
    again = admin.post(f"/directory/people/{bob.pk}/hand-over/", {"person": priya})
    assert again.status_code == 422
    assert "leaves nothing" in again.content.decode()


def test_page_of_a_person_who_left_lists_the_requests_that_waited_for_them(
    cast: Cast, browse: Browse
) -> None:
    grace = factories.person("Grace Claims", role="group_admin", group=cast.claims)
    key = scopes.project(cast.triage.pk)
    limit = set_limit(
        scope_key=key,
        label="Claims triage",
        metric="spend",
        window="day",
        amount="100",
        actor=factories.ACTOR,
    )
    assert limit is not None
    request = ask_for_raise(
        limit=limit,
        amount=200 * 10**9,
        requester=cast.bob,
        actor=factories.ACTOR,
        reason="more",
    )
    depart(person=grace, because="deleted", actor=factories.ACTOR)
    admin = browse(cast.alice)

    page = admin.get(f"/accounts/people/{grace.pk}/").content.decode()

    assert f'href="/requests/{request.pk}/"' in page
    assert "waited for their decision; 1 other can decide" in page
    for name in ("Ada", "Ben"):
        factories.person(f"{name} Admin", role="admin")
    assert "waited for their decision" not in admin.get(f"/accounts/people/{grace.pk}/").content.decode()


@pytest.mark.parametrize("who", ["erin", "bob"])
def test_nobody_else_may_run_or_hand_over(cast: Cast, browse: Browse, who: str) -> None:
    client = browse(getattr(cast, who))

    assert client.post("/directory/sync/").status_code == 403
    assert client.post(f"/directory/people/{cast.dave.pk}/hand-over/").status_code == 403
    assert not DirectoryState.objects.exists()

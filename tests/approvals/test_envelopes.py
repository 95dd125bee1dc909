"""Limits of projects may add up to more than their group's only where the organization allows it, and never unsaid."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from groups.services import create_group
from portal.accounts.models import Person
from portal.approvals.models import ApprovalPolicy
from portal.decision.services import set_limit
from portal.spend import scopes
from portal.spend.models import Limit
from projects.envelopes import warnings_about
from projects.models import Project
from projects.services import set_project_state
from tests.decision.threads import at_once
from tests.factories import ACTOR, Cast, person, project, signed_in

Browse = Callable[[Person], Client]
LIMITS = "/projects/claims-triage/limits/"
TOO_MUCH = "Limits of the projects of Claims add up to $1,200 a month, more than the group’s $1,000."
WOULD_BE = "Limits of the projects of Claims would add up to $1,200 a month, more than the group’s $1,000."


@pytest.fixture
def other(cast: Cast) -> Project:
    """A second project of the group, with 700 of the group's 1,000 a month."""
    spend(scopes.group(cast.claims.pk), "1000")
    return project("claims-letters", "Claims letters", group=cast.claims, monthly_limit="700")


def spend(key: str, amount: str | None, window: str = "month") -> None:
    set_limit(scope_key=key, label="It", metric="spend", window=window, amount=amount, actor=ACTOR)


def refuse() -> None:
    ApprovalPolicy.objects.create(pk=1, overcommit="refuse")


def save(client: Client, page: str, **fields: str) -> Any:
    seen = client.get(page).context["form"]["seen"].value()
    return client.post(page, {"seen": seen, **fields}, follow=True)


def month_of(key: str) -> int | None:
    row = Limit.objects.filter(scope_key=key, metric="spend", window="month").first()
    return row.amount // 10**9 if row else None


def test_more_than_the_group_has_is_allowed_with_a_warning(
    cast: Cast, other: Project, browse: Browse
) -> None:
    alice = browse(cast.alice)
    preview = alice.post(f"{LIMITS}preview/", {"monthly": "500"}).content.decode()
    assert TOO_MUCH in preview
    assert "more than" not in alice.post(f"{LIMITS}preview/", {"monthly": "300"}).content.decode()
    answer = save(alice, LIMITS, monthly="500")
    assert f"Limits saved for Claims triage. {TOO_MUCH}" in answer.content.decode()
    assert TOO_MUCH in alice.get("/groups/claims/").content.decode()
    assert month_of(scopes.project(cast.triage.pk)) == 500
    # An owner only lowers, and is not told what the others have.
    assert "more than the group" not in browse(cast.bob).get(LIMITS).content.decode()


def test_more_than_the_group_has_is_refused_with_both_numbers(
    cast: Cast, other: Project, browse: Browse
) -> None:
    refuse()
    alice, key = browse(cast.alice), scopes.project(cast.triage.pk)
    answer = save(alice, LIMITS, monthly="500")
    assert answer.status_code == 422
    assert WOULD_BE in answer.content.decode()
    assert month_of(key) is None
    assert save(alice, LIMITS, monthly="300").status_code == 200
    assert month_of(key) == 300
    data = {"name": "New", "code": "new", "group": "claims", "monthly_limit": "1"}
    new = alice.post("/projects/new/", data)
    assert new.status_code == 422
    assert not Project.objects.filter(code="new").exists()


def test_to_lower_is_never_refused(cast: Cast, other: Project, browse: Browse) -> None:
    alice, key = browse(cast.alice), scopes.project(cast.triage.pk)
    spend(key, "800")
    refuse()
    assert save(alice, LIMITS, monthly="600").status_code == 200
    assert month_of(key) == 600
    answer = save(alice, "/groups/claims/", monthly="900").content.decode()
    assert "add up to $1,300 a month, more than the group’s $900." in answer
    assert month_of(scopes.group(cast.claims.pk)) == 900


def test_groups_and_projects_without_one_are_held_to_the_organization(
    cast: Cast, other: Project, browse: Browse
) -> None:
    alice, page = browse(cast.alice), "/projects/fraud-notes/limits/"
    spend(scopes.ORGANIZATION, "1500")
    sentence = "Limits of groups, and of projects without one, add up to $1,600 a month"
    sentence = f"{sentence}, more than the organization’s $1,500."
    assert sentence in save(alice, page, monthly="600").content.decode()
    assert sentence in alice.get("/settings/limits/").content.decode()
    refuse()
    assert save(alice, "/groups/claims/", monthly="1100").status_code == 422
    assert month_of(scopes.group(cast.claims.pk)) == 1000


def test_a_project_moves_into_a_group_only_with_what_fits(cast: Cast, other: Project, browse: Browse) -> None:
    alice, page = browse(cast.alice), "/projects/fraud-notes/settings/"
    spend(scopes.project(cast.fraud.pk), "500")

    def move(group: str) -> Any:
        form = alice.get(page).context["form"]
        data = {name: form[name].value() or "" for name in form.fields}
        assert "seen" in data
        return alice.post(page, {**data, "group": group}, follow=True)

    assert f"Settings saved. {TOO_MUCH}" in move(str(cast.claims.pk)).content.decode()
    assert move("").status_code == 200
    refuse()
    answer = move(str(cast.claims.pk))
    assert (answer.status_code, WOULD_BE in answer.content.decode()) == (422, True)
    cast.fraud.refresh_from_db()
    assert cast.fraud.group is None


def test_a_project_is_restored_only_with_what_fits(cast: Cast, other: Project, browse: Browse) -> None:
    spend(scopes.project(cast.triage.pk), "500")
    set_project_state(project=cast.triage, state="archived", actor=ACTOR)
    refuse()
    answer = browse(cast.alice).post("/projects/claims-triage/state/active/", {"reason": "again"})
    assert (answer.status_code, WOULD_BE in answer.content.decode()) == (422, True)
    cast.triage.refresh_from_db()
    assert cast.triage.state == Project.State.ARCHIVED


def test_many_projects_cost_one_sum(cast: Cast, other: Project) -> None:
    with CaptureQueriesContext(
        connection,
    ) as few:
        warnings_about([other.pk])
    for number in range(20):
        project(f"claims-{number}", group=cast.claims, monthly_limit="100")
    with CaptureQueriesContext(connection) as many:
        assert len(warnings_about([other.pk])) == 1
    assert len(many) <= len(few) + 1  # the name of the group, for the sentence


BULK = "/projects/bulk/"
BOTH = "preview=1&p=claims-triage&p=claims-letters"


def shown_plan(page: str) -> str:
    """Return the plan that a preview would carry out."""
    found = re.search(r'name="plan" value="([^"]+)"', page)
    assert found, page
    return found.group(1)


def test_the_preview_of_many_warns_of_what_they_would_add_up_to(
    cast: Cast, other: Project, browse: Browse
) -> None:
    alice = browse(cast.alice)
    page = alice.get(f"{BULK}?do=limits&monthly=600&{BOTH}").content.decode()
    assert WOULD_BE in page
    assert "2 of 2 change" in page
    assert "would add up" not in alice.get(f"{BULK}?do=limits&monthly=500&{BOTH}").content.decode()
    spend(scopes.project(cast.fraud.pk), "400")
    moved = alice.get(f"{BULK}?do=move&to=claims&preview=1&p=fraud-notes").content.decode()
    assert "would add up to $1,100 a month" in moved


def test_the_preview_of_many_says_which_would_be_refused_and_it_is_so(
    cast: Cast, other: Project, browse: Browse
) -> None:
    refuse()
    alice = browse(cast.alice)
    # By name Claims letters come first and are lowered to 600; then Claims triage has no room for as much.
    page = alice.get(f"{BULK}?do=limits&monthly=600&{BOTH}").content.decode()
    assert "1 of 2 changes" in page
    assert f"Stays. {WOULD_BE}" in page
    alice.post(BULK, {"plan": shown_plan(page)})
    assert (month_of(scopes.project(other.pk)), month_of(scopes.project(cast.triage.pk))) == (600, None)
    fits = alice.get(f"{BULK}?do=limits&monthly=500&{BOTH}").content.decode()
    assert "2 of 2 change" in fits
    answer = alice.post(BULK, {"plan": shown_plan(fits)}, follow=True)
    assert "2 projects given the limits" in answer.content.decode()
    spend(scopes.project(cast.fraud.pk), "1")
    moved = alice.get(f"{BULK}?do=move&to=claims&preview=1&p=fraud-notes").content.decode()
    assert "Stays. Limits of the projects of Claims would add up to $1,001 a month" in moved


def test_the_preview_says_what_needs_a_second_person(cast: Cast, other: Project, browse: Browse) -> None:
    ApprovalPolicy.objects.create(pk=1, most_raise=10)
    alice, bob = browse(cast.alice), browse(cast.bob)
    page = alice.get(f"{BULK}?do=limits&monthly=800&{BOTH}").content.decode()
    assert "Stays. Raising it by more than 10% needs a second person." in page
    spend(scopes.project(cast.triage.pk), "100")
    page = bob.get(f"{BULK}?do=limits&monthly=101&{BOTH}").content.decode()
    assert "Stays. To raise it, ask for a raise." in page


def test_who_only_lowers_is_not_told_what_the_others_have(cast: Cast, other: Project, browse: Browse) -> None:
    spend(scopes.project(cast.triage.pk), "2000")
    bob = browse(cast.bob)
    page = bob.get(f"{BULK}?do=limits&monthly=1500&{BOTH}").content.decode()
    assert "add up" not in page
    answer = bob.post(BULK, {"plan": shown_plan(page)}, follow=True)
    assert "1 project given the limits" in answer.content.decode()
    assert "add up" not in answer.content.decode()


def test_a_preview_of_many_groups_costs_as_much_as_one_of_few(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)

    def cost(number: int) -> int:
        for index in range(number):
            group = create_group(code=f"g{number}-{index}", name=f"G {number} {index}", actor=ACTOR)
            spend(scopes.group(group.pk), "10")
            project(f"p{number}-{index}", group=group, monthly_limit="5")
        chosen = "&".join(f"p=p{number}-{index}" for index in range(number))
        with CaptureQueriesContext(connection) as queries:
            page = alice.get(f"{BULK}?do=limits&monthly=20&preview=1&{chosen}").content.decode()
        assert page.count("More is promised") == number
        return len(queries)

    assert cost(2) == cost(12)


def test_of_two_raises_at_once_that_do_not_both_fit_one_goes(clean_state: None) -> None:
    refuse()
    alice = person("Alice Admin", role="admin")
    group = create_group(code="claims", name="Claims", actor=ACTOR)
    spend(scopes.group(group.pk), "1000")
    projects = [project(code, group=group, monthly_limit="400") for code in ("one", "two")]
    browsers = {each: signed_in(alice) for each in projects}
    pages = {each: f"/projects/{each.code}/limits/" for each in projects}
    seen = {each: browsers[each].get(pages[each]).context["form"]["seen"].value() for each in projects}

    def raised(each: Project) -> int:
        return browsers[each].post(pages[each], {"seen": seen[each], "monthly": "600"}).status_code

    assert sorted(at_once(raised, projects)) == [302, 422]
    assert sorted(month_of(scopes.project(each.pk)) or 0 for each in projects) == [400, 600]

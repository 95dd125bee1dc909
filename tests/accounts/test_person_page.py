"""The page of a person, the list as a file, and one's own account."""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apikeys.services import issue_api_key
from audit.models import AuditEntry
from groups.services import set_members
from portal.accounts.models import Person, Session
from portal.decision.services import set_limit
from portal.spend import scopes
from projects.services import admit_group
from tests import factories
from tests.factories import Cast
from tokens.services import issue_token

Browse = Callable[[Person], Client]


def test_page_says_where_each_right_comes_from_and_what_the_person_holds(cast: Cast, browse: Browse) -> None:
    cast.bob.role_grants.create(role="operator", source="entra", granted_by="Entra ID")
    cast.bob.role_grants.create(role="auditor", source="portal", granted_by="Alice Admin")
    admit_group(project=cast.fraud, group=cast.claims, actor=factories.ACTOR)
    set_members(group=cast.claims, people=[cast.bob], actor=factories.ACTOR)
    token, _ = issue_token(project=cast.triage, person=cast.bob, name="Notebook", actor=factories.ACTOR)
    key, _ = issue_api_key(project=cast.triage, name="CRM", owner=cast.bob, actor=factories.ACTOR)
    factories.priced()
    factories.usage(cast.triage, "12.5", person=cast.bob, is_moved=True)
    set_limit(
        scope_key=scopes.user(cast.bob.pk),
        label="Bob",
        metric="spend",
        window="month",
        amount=100,
        actor=factories.ACTOR,
    )

    page = browse(cast.erin).get(f"/accounts/people/{cast.bob.pk}/").content.decode()

    assert "App role Portal.Operator in Entra ID" in page
    assert "Granted here by Alice Admin" in page
    assert "Added to the project" in page
    assert "Through the group Claims" in page
    assert f"/tokens/{token.key_id}/" in page
    assert f"/keys/{key.key_id}/" in page
    assert "$12.50" in page
    assert "of $100" in page
    assert "this person" in page
    assert "Hand over" not in page


@pytest.mark.parametrize("sort", ["-projects", "tokens", "-month", "signed-in", "name"])
def test_list_is_sorted_by_anything_shown_and_paged(
    cast: Cast, browse: Browse, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    factories.usage(cast.triage, "12.5", person=cast.bob, is_moved=True)
    monkeypatch.setattr("portal.accounts.pages.listing.page_of", _small_pages())
    admin, names, cursor = browse(cast.alice), [], ""
    for _ in range(10):
        page = admin.get("/accounts/people/", {"sort": sort, "cursor": cursor}).context["page"]
        names += [row.person.name for row in page.rows]
        cursor = page.next or ""
        if not cursor:
            break

    assert sorted(names) == sorted(Person.objects.values_list("name", flat=True))
    if sort == "-month":
        assert names[0] == "Bob Owner"
    if sort == "-projects":
        assert set(names[:3]) == {"Bob Owner", "Carol Member", "Dave Outsider"}


def _small_pages() -> Callable[..., Any]:
    from portal.web.pagination import page_of

    return lambda rows, **more: page_of(rows, size=2, **more)


def test_list_is_downloaded_as_filtered(cast: Cast, browse: Browse) -> None:
    Person.objects.filter(pk=cast.dave.pk).update(name="=cmd()")

    answer = browse(cast.erin).get("/accounts/people/export/", {"role": "owner"})

    rows = list(csv.reader(io.StringIO(b"".join(answer).decode("utf-8-sig"))))
    assert [row[0] for row in rows] == ["Name", "Bob Owner", "'=cmd()"]
    assert rows[1][5] == "1"


def test_filters_by_state(cast: Cast, browse: Browse) -> None:
    Person.objects.filter(pk=cast.carol.pk).update(
        left=cast.carol.created, left_because="deleted", is_active=False
    )
    Person.objects.filter(pk=cast.dave.pk).update(is_guest=True)
    admin = browse(cast.alice)

    def names(**query: str) -> set[str]:
        return {row.person.name for row in admin.get("/accounts/people/", query).context["page"].rows}

    assert names(state="left") == {"Carol Member"}
    assert names(state="guest") == {"Dave Outsider"}
    assert "Carol Member" not in names(state="active")
    assert names(role="member") == {"Carol Member"}
    assert names(source="project", q="bob") == {"Bob Owner"}


def test_sessions_are_listed_and_one_is_ended_by_an_administrator(cast: Cast, browse: Browse) -> None:
    first, second = browse(cast.erin), browse(cast.erin)
    admin = browse(cast.alice)
    page = f"/accounts/people/{cast.erin.pk}/"
    assert "2 browsers" in admin.get(page).content.decode()
    key = first.session.session_key
    mark = Session.objects.get(session_key=key).mark

    assert admin.post(f"{page}sessions/{mark}/end/").status_code == 302

    assert first.get("/accounts/people/").status_code == 302
    assert second.get("/accounts/people/").status_code == 200
    entry = AuditEntry.objects.get(action="session.closed")
    assert entry.changes == {"session": [mark, None]}
    assert str(key) not in admin.get(page).content.decode()


def test_everybody_sees_and_ends_their_own_sessions_and_nobody_else_s(cast: Cast, browse: Browse) -> None:
    here, there, elsewhere = browse(cast.carol), browse(cast.carol), browse(cast.carol)
    bob = browse(cast.bob)
    page = here.get("/accounts/me/").content.decode()
    assert "3 browsers" in page
    assert page.count("This one") == 1
    assert "Claims triage" in page
    mark = Session.objects.get(session_key=there.session.session_key).mark

    bob.post(f"/accounts/me/sessions/{mark}/end/")
    assert there.get("/accounts/me/").status_code == 200
    here.post(f"/accounts/me/sessions/{mark}/end/")
    assert there.get("/accounts/me/").status_code == 302
    here.post("/accounts/me/sessions/end-others/")

    assert elsewhere.get("/accounts/me/").status_code == 302
    assert here.get("/accounts/me/").status_code == 200
    assert bob.get("/accounts/me/").status_code == 200


def test_one_s_own_account_is_no_page_of_people(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    for page, marks in (("/accounts/me/", False), (f"/accounts/people/{cast.bob.pk}/", True)):
        item = re.search(r'<a href="/accounts/people/"[^>]*>', alice.get(page).content.decode())
        assert item
        assert ("aria-current" in item.group()) is marks


def test_page_of_a_person_costs_the_same_for_many_things(
    cast: Cast, browse: Browse, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        factories.project(f"more-{number}", owners=[cast.bob])
    admin = browse(cast.alice)

    with django_assert_max_num_queries(26):
        assert admin.get(f"/accounts/people/{cast.bob.pk}/").status_code == 200

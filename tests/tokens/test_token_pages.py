"""The page of a user token, and what is done from it and from the list."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import Person
from portal.decision.last_use import Use, write
from portal.decision.models import Subject
from portal.gateway.services import register_gateway
from portal.spend.models import Limit
from projects.services import update_project
from tests import factories
from tests.factories import Cast
from tokens.models import UserToken
from tokens.services import issue_token, suspend_token

Browse = Callable[[Person], Client]


def token_of(person: Person, cast: Cast, **fields: object) -> UserToken:
    """Return a new token in Claims triage."""
    return issue_token(project=cast.triage, person=person, actor=factories.ACTOR, **fields)[0]  # type: ignore[arg-type]


def test_a_token_is_issued_with_its_own_limits_and_models(cast: Cast, browse: Browse) -> None:
    factories.priced("gpt-5-mini")
    data = {
        "person": cast.carol.pk, "days": "30", "daily_limit": "5", "monthly_limit": "50",
        "allowed_models": "gpt-5-mini",
    }  # fmt: skip
    assert browse(cast.bob).post("/tokens/issue/?project=claims-triage", data).status_code == 200
    token = UserToken.objects.get()
    limits = Limit.objects.filter(scope_key=f"c:{token.key_id}").values_list("window", "amount")
    assert set(limits) == {("day", 5 * 10**9), ("month", 50 * 10**9)}
    assert Subject.objects.get(pk=f"s:{token.key_id}").data["models"] == ["gpt-5-mini"]


def test_the_page_says_when_from_where_and_through_which_gateway(cast: Cast, browse: Browse) -> None:
    token = token_of(cast.carol, cast)
    gateway, _ = register_gateway(name="Edge Berlin", actor=factories.ACTOR)
    at = int(timezone.now().timestamp()) - 120
    write([Use(token.key_id, current=at, gateway=gateway.key_id, address="203.0.113.9")])
    for who in (cast.carol, cast.bob, cast.erin):
        page = browse(who).get(f"/tokens/{token.key_id}/").content.decode()
        assert "2 min ago" in page
        assert "203.0.113.9" in page
        assert "Edge Berlin" in page
    assert browse(cast.dave).get(f"/tokens/{token.key_id}/").status_code == 404


def test_an_older_use_replaces_no_later_one(cast: Cast) -> None:
    token, at = token_of(cast.carol, cast), int(timezone.now().timestamp())
    write([Use(token.key_id, current=at, address="203.0.113.9")])
    write([Use(token.key_id, current=at - 60, address="203.0.113.1")])
    token.refresh_from_db()
    assert token.last_used
    assert int(token.last_used.timestamp()) == at
    assert token.last_used_from == "203.0.113.9"


def test_a_holder_sees_their_token_and_widens_nothing(cast: Cast, browse: Browse) -> None:
    token, carol = token_of(cast.carol, cast), browse(cast.carol)
    suspend_token(token=token, reason="lost laptop", actor=factories.ACTOR)
    page = carol.get(f"/tokens/{token.key_id}/").content.decode()
    assert "lost laptop" in page
    assert "Resume" not in page
    for action in ("resume", "edit", "limits", "suspend"):
        assert carol.post(f"/tokens/{token.key_id}/{action}/", {"name": "x"}).status_code == 403, action
    token.refresh_from_db()
    assert token.status == "suspended"


def test_what_a_token_may_do_is_changed(cast: Cast, browse: Browse) -> None:
    token, bob = token_of(cast.carol, cast), browse(cast.bob)
    data = {"name": "office", "networks": "192.0.2.0/24"}
    assert bob.post(f"/tokens/{token.key_id}/edit/", data).status_code == 302
    token.refresh_from_db()
    assert (token.name, token.networks) == ("office", ["192.0.2.0/24"])


def test_members_have_a_list_called_my_tokens(cast: Cast, browse: Browse) -> None:
    token_of(cast.carol, cast)
    token_of(cast.bob, cast)
    page = browse(cast.carol).get("/tokens/")
    assert "<h1>My tokens</h1>" in page.content.decode()
    assert [row.token.person for row in page.context["page"].rows] == [cast.carol]
    assert "<h1>User tokens</h1>" in browse(cast.bob).get("/tokens/").content.decode()


def test_members_issue_to_themselves_only_where_the_project_lets_them(cast: Cast, browse: Browse) -> None:
    update_project(project=cast.triage, members_issue_tokens=False, actor=factories.ACTOR)
    path, data = "/tokens/issue/?project=claims-triage", {"person": cast.carol.pk, "days": "30"}
    carol, bob = browse(cast.carol), browse(cast.bob)
    assert carol.post(path, data).status_code == 403
    assert "claims-triage" not in carol.get("/tokens/issue/").content.decode()
    assert not UserToken.objects.exists()
    assert "claims-triage" in bob.get("/tokens/issue/").content.decode()
    assert bob.post(path, data).status_code == 200


def test_all_tokens_of_a_person_are_revoked_as_far_as_ones_right_goes(cast: Cast, browse: Browse) -> None:
    mine = [token_of(cast.carol, cast) for _ in range(2)]
    theirs = token_of(cast.bob, cast)
    path = f"/tokens/revoke/?person={cast.carol.pk}"
    assert "Revoke every token of Carol Member?" in browse(cast.bob).get(path).content.decode()
    assert browse(cast.dave).post(path).status_code == 422
    assert browse(cast.bob).post(path, {"reason": "left the team"}).status_code == 302
    left = UserToken.objects.filter(revoked=None)
    assert [token.pk for token in left] == [theirs.pk]
    assert {Subject.objects.get(pk=f"s:{token.key_id}").data["state"] for token in mine} == {"revoked"}


def test_the_list_is_filtered_by_project_group_person_and_use(cast: Cast, browse: Browse) -> None:
    carol = token_of(cast.carol, cast)
    issue_token(project=cast.fraud, person=cast.dave, name="notes", actor=factories.ACTOR)
    UserToken.objects.filter(pk=carol.pk).update(created=timezone.now() - timedelta(days=100))
    alice = browse(cast.alice)

    def shown(query: str) -> list[str]:
        return sorted(row.token.person.name for row in alice.get(f"/tokens/?{query}").context["page"].rows)

    assert shown("project=fraud-notes") == shown("q=notes") == ["Dave Outsider"]
    assert shown("group=claims") == shown("status=unused") == ["Carol Member"]
    assert shown(f"person={cast.carol.pk}") == ["Carol Member"]
    assert shown("person=x") == []
    exported = b"".join(alice.get("/tokens/export/?project=fraud-notes").streaming_content).decode()  # type: ignore[attr-defined]
    assert "notes" in exported
    assert "Carol" not in exported


@pytest.mark.parametrize("sort", ["person", "-person", "project", "expires", "-expires", "used", "-used"])
def test_every_order_pages_through_all_tokens_once(sort: str, cast: Cast, browse: Browse) -> None:
    for person in (cast.bob, cast.carol):
        for _ in range(27):
            token_of(person, cast)
    UserToken.objects.filter(person=cast.carol).update(last_used=timezone.now())
    bob, seen = browse(cast.bob), []
    address = f"/tokens/?sort={sort}"
    while True:
        page = bob.get(address).context["page"]
        seen += [row.token.pk for row in page.rows]
        if page.next is None:
            break
        address = f"/tokens/?sort={sort}&cursor={page.next}"
    assert len(seen) == len(set(seen)) == 54


def test_the_navigation_calls_it_my_tokens_for_who_looks_after_no_others(cast: Cast, browse: Browse) -> None:
    def label(who: Person) -> str:
        page = browse(who).get("/projects/").content.decode()
        return "My tokens" if ">My tokens<" in page or "</svg>My tokens" in page else "User tokens"

    assert [label(who) for who in (cast.carol, cast.bob, cast.erin)] == [
        "My tokens",
        "User tokens",
        "User tokens",
    ]

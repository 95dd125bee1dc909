"""Lists of tokens and keys: their filters, and their order by this month's spend, page by page."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apikeys.models import ApiKey
from apikeys.services import issue_api_key
from portal.accounts.models import Person
from portal.spend.models import CredentialMonth
from tests import factories
from tests.factories import Cast
from tokens.models import UserToken
from tokens.services import issue_token

Browse = Callable[[Person], Client]
NAME = {"/tokens/": "token", "/keys/": "key"}


def names(client: Client, address: str, **query: Any) -> list[str]:
    """Return the names on one page of a list."""
    rows = client.get(address, query).context["page"].rows
    return [getattr(row, NAME[address]).name for row in rows]


def token_of(person: Person, cast: Cast, name: str) -> UserToken:
    """Return a new token in Claims triage."""
    return issue_token(project=cast.triage, person=person, name=name, actor=factories.ACTOR)[0]


def key_in(cast: Cast, name: str, **fields: Any) -> ApiKey:
    """Return a new key in Claims triage, or elsewhere."""
    return issue_api_key(**{"project": cast.triage, "name": name, "actor": factories.ACTOR, **fields})[0]


def spent(cast: Cast, credential: UserToken | ApiKey, amount: str, moment: datetime | None = None) -> None:
    """Book a call with the credential as settled and moved to the roll-ups."""
    factories.usage(cast.triage, amount, credential=credential.key_id, moment=moment, is_moved=True)


def a_month_ago() -> datetime:
    """Return a moment in the month before this one."""
    return datetime.now(UTC).replace(day=1) - timedelta(days=2)


@pytest.mark.parametrize("address", ["/tokens/", "/keys/"])
def test_lists_are_sorted_by_the_spend_of_this_month(address: str, cast: Cast, browse: Browse) -> None:
    made = {
        name: token_of(cast.carol, cast, name) if address == "/tokens/" else key_in(cast, name)
        for name in ("small", "never", "large", "before", "grown")
    }
    spent(cast, made["large"], "7")
    spent(cast, made["small"], "0.5")
    spent(cast, made["before"], "90", a_month_ago())
    spent(cast, made["grown"], "80", a_month_ago())
    spent(cast, made["grown"], "1")
    spent(cast, made["grown"], "1.5")
    spent(cast, made["grown"], "60", a_month_ago())  # reported late
    alice = browse(cast.alice)
    wanted = ["large", "grown", "small", "before", "never"]
    assert names(alice, address, sort="-month") == wanted
    assert names(alice, address, sort="month") == wanted[::-1]
    page = alice.get(address, {"sort": "-month"})
    assert 'aria-sort="descending"' in page.content.decode()
    assert [row.month for row in page.context["page"].rows][:3] == [7 * 10**9, 25 * 10**8, 5 * 10**8]


@pytest.mark.parametrize("address", ["/tokens/", "/keys/"])
def test_pages_by_spend_neither_skip_nor_repeat(
    address: str, cast: Cast, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.web.pagination.MAX_SIZE", 4)
    for number in range(13):
        name = f"n{number:02}"
        made = token_of(cast.carol, cast, name) if address == "/tokens/" else key_in(cast, name)
        if number < 9:
            spent(cast, made, str(number // 3), a_month_ago() if number % 4 == 0 else None)
    alice = browse(cast.alice)
    for sort in ("-month", "month"):
        cursor: str | None = ""
        pages: list[list[str]] = []
        while cursor is not None:
            page = alice.get(address, {"sort": sort, "cursor": cursor}).context["page"]
            pages.append([getattr(row, NAME[address]).name for row in page.rows])
            cursor = page.next
        there = [name for names_of_page in pages for name in names_of_page]
        assert sorted(there) == [f"n{number:02}" for number in range(13)], sort
        back = alice.get(address, {"sort": sort, "cursor": page.previous}).context["page"]
        assert [getattr(row, NAME[address]).name for row in back.rows] == pages[-2], sort


def test_a_filter_holds_for_the_order_by_spend(cast: Cast, browse: Browse) -> None:
    for person, name in ((cast.carol, "a"), (cast.bob, "b"), (cast.bob, "c")):
        spent(cast, token_of(person, cast, name), "1" if name == "b" else "2")
    key_in(cast, "of no token")
    assert names(browse(cast.bob), "/tokens/", sort="-month", q="Bob") == ["c", "b"]
    assert names(browse(cast.carol), "/tokens/", sort="-month") == ["a"]


def test_the_number_of_queries_does_not_grow(cast: Cast, browse: Browse) -> None:
    alice, counts = browse(cast.alice), []
    for step in range(2):
        for number in range(5):
            spent(cast, token_of(cast.carol, cast, f"{step}-{number}"), "1")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            alice.get("/tokens/", {"sort": "-month"})
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_every_credential_has_its_place_from_its_issue_on(cast: Cast) -> None:
    token, key = token_of(cast.carol, cast, "t"), key_in(cast, "k")
    places = CredentialMonth.objects.values_list("credential", "kind", "spend")
    assert set(places) == {(token.key_id, "user_token", 0), (key.key_id, "api_key", 0)}


def test_tokens_are_sorted_by_their_issue(cast: Cast, browse: Browse) -> None:
    for days, name in ((3, "older"), (1, "newer")):
        token = token_of(cast.carol, cast, name)
        UserToken.objects.filter(pk=token.pk).update(created=token.created - timedelta(days=days))
    assert names(browse(cast.alice), "/tokens/", sort="-created") == ["newer", "older"]


def test_keys_are_filtered_by_project_and_by_owner_or_deputy(cast: Cast, browse: Browse) -> None:
    key_in(cast, "bobs", owner=cast.bob)
    key_in(cast, "stood in", owner=cast.carol, deputy=cast.bob)
    key_in(cast, "nobodys", project=cast.fraud)
    alice = browse(cast.alice)
    assert set(names(alice, "/keys/", person="bob@northgate")) == {"bobs", "stood in"}
    assert names(alice, "/keys/", person="Carol") == ["stood in"]
    assert names(alice, "/keys/", person="Nobody of that name") == []
    assert names(alice, "/keys/", project="fraud-notes") == ["nobodys"]
    assert names(alice, "/keys/", project="Claims", person="Carol") == ["stood in"]
    lines = b"".join(alice.get("/keys/export/", {"person": "Carol"})).decode().splitlines()
    assert len(lines) == 2
    assert "project" not in alice.get("/projects/fraud-notes/keys/").context["filters"].fields

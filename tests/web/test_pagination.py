"""Keyset paging: every row once, in order, in both directions, whatever the address says."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import signing
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.accounts.models import Person
from portal.web.pagination import MAX_SIZE, Page, page_of

ORDERS = [("name", "pk"), ("-name", "pk"), ("last_sign_in", "name", "-pk"), ("-last_sign_in", "pk"), ("-pk",)]


@dataclass(frozen=True)
class Row:
    """A row of a list."""

    pk: int
    name: str
    last_sign_in: datetime | None


def rows_of(found: list[tuple[str, int | None]]) -> list[Row]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Row(n, name, None if hours is None else start + timedelta(hours=hours))
        for n, (name, hours) in enumerate(found)
    ]


ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "B", "é", ""]), st.none() | st.integers(0, 3)), max_size=25
).map(rows_of)


def expected(rows: list[Any], order: tuple[str, ...]) -> list[int]:
    """Sort by one key after the other, the last one first; None comes last either way."""
    for key in reversed(order):
        name = key.removeprefix("-")
        known = [row for row in rows if getattr(row, name) is not None]
        known.sort(key=lambda row: getattr(row, name), reverse=key.startswith("-"))
        rows = known + [row for row in rows if getattr(row, name) is None]
    return [row.pk for row in rows]


def walk(turn: Callable[[str], Page[Any]]) -> tuple[list[list[int]], list[list[int]]]:
    """Go to the end and back again; return the pages seen on both ways."""
    page = turn("")
    assert page.previous is None
    there = [[row.pk for row in page.rows]]
    while page.next:
        page = turn(page.next)
        there.append([row.pk for row in page.rows])
    back = [there[-1]]
    while page.previous:
        page = turn(page.previous)
        back.insert(0, [row.pk for row in page.rows])
    return there, back


@settings(deadline=None)
@given(rows=ROWS, order=st.sampled_from(ORDERS), size=st.integers(1, 7))
def test_a_list_is_paged_there_and_back(rows: list[Row], order: tuple[str, ...], size: int) -> None:
    there, back = walk(lambda cursor: page_of(rows, order=order, cursor=cursor, size=size))
    assert sum(there, []) == expected(rows, order)  # noqa: RUF017
    assert all(len(page) == size for page in there[:-1])
    assert back == there


@pytest.mark.django_db
@pytest.mark.parametrize("order", ORDERS)
def test_a_queryset_is_paged_there_and_back(order: tuple[str, ...]) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    Person.objects.bulk_create(
        Person(
            name="abc"[n % 3],
            email="",
            tid=uuid.uuid4(),
            oid=uuid.uuid4(),
            last_sign_in=None if n % 4 == 0 else start + timedelta(hours=n % 5),
        )
        for n in range(23)
    )
    people = Person.objects.all()
    for size in (1, 4, 50):
        there, back = walk(lambda cursor: page_of(people, order=order, cursor=cursor, size=size))  # noqa: B023
        assert sum(there, []) == expected(list(people), order)  # noqa: RUF017
        assert back == there


@pytest.mark.django_db
def test_an_order_without_unknown_values_stays_plain_for_the_index(
    django_assert_num_queries: Any,
) -> None:
    with django_assert_num_queries(1) as captured:
        page_of(Person.objects.all(), order=("-name",), size=10)
    assert "NULLS" not in captured[0]["sql"]


@pytest.mark.parametrize(
    "cursor", ["x", "a:b:c", "'; drop table", signing.dumps(["pk", 0, [3]]), "é", "0" * 5000]
)
def test_an_altered_cursor_shows_the_first_page(cursor: str) -> None:
    rows = rows_of([("a", 1), ("b", 2)])
    assert page_of(rows, order=("pk",), cursor=cursor).rows == rows


def test_a_cursor_of_another_order_shows_the_first_page() -> None:
    rows = rows_of([("b", 1), ("a", 2), ("c", 3)])
    cursor = page_of(rows, order=("pk",), size=1).next or ""
    assert page_of(rows, order=("name", "pk"), cursor=cursor, size=1).rows == [rows[1]]


def test_when_the_rows_are_gone_the_list_starts_again() -> None:
    rows = rows_of([("a", 1), ("b", 2)])
    cursor = page_of(rows, order=("pk",), size=1).next or ""
    assert page_of(rows[:1], order=("pk",), cursor=cursor, size=1).rows == rows[:1]


def test_rows_that_come_in_between_are_neither_lost_nor_shown_twice() -> None:
    rows = rows_of([("a", 1), ("c", 2), ("e", 3)])
    cursor = page_of(rows, order=("name", "pk"), size=2).next or ""
    more = [*rows, replace(rows[0], pk=9, name="b"), replace(rows[0], pk=10, name="d")]
    assert [row.name for row in page_of(more, order=("name", "pk"), cursor=cursor).rows] == ["d", "e"]


def test_a_page_has_a_ceiling() -> None:
    rows = rows_of([("a", 1)] * (MAX_SIZE + 5))
    assert len(page_of(rows, order=("pk",), size=10_000).rows) == MAX_SIZE

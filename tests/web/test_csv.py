"""Downloads that a spreadsheet opens as text."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.web.csv import csv_response, lines

FORMULAS = ["=1+1", "+cmd", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1"]


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_starts_a_formula(text: str) -> None:
    [_, [value]] = read("".join(lines(["a"], [[text]])))
    assert value == f"'{text}"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_what_was_written_is_read_back(cells: list[str]) -> None:
    [_, row] = read("".join(lines(["x"] * len(cells), [cells])))
    assert [value.removeprefix("'") for value in row] == [value.removeprefix("'") for value in cells]
    assert not any(value.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for value in row)


def test_numbers_and_moments_keep_their_form() -> None:
    at = datetime(2026, 11, 24, 11, 42, tzinfo=UTC)
    [_, row] = read("".join(lines(["a"] * 4, [[-2, Decimal("-1.5"), at, None]])))
    assert row == ["-2", "-1.5", "2026-11-24T11:42:00+00:00", ""]


def test_rows_are_sent_as_they_come() -> None:
    taken = []

    def rows() -> Iterator[tuple[int]]:
        for number in range(3):
            taken.append(number)
            yield (number,)

    response = csv_response("projects", ["n"], rows())
    assert taken == []
    assert response["Content-Disposition"] == 'attachment; filename="projects.csv"'
    assert response.getvalue().decode() == "\ufeffn\r\n0\r\n1\r\n2\r\n"

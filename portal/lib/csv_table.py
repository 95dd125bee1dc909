"""A table that somebody wrote as CSV: what is wrong is told by line, before anything is done with it.

The columns may come in any order. Commas and semicolons are both understood, as spreadsheets write either.
"""

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Generic, TypeVar

from portal.lib.errors import RuleBroken
from portal.lib.money import MAX_NANO, NANO, from_nano, to_nano

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a table may have: its columns, those it must have, and how long it may be."""

    columns: tuple[str, ...]
    needed: tuple[str, ...]
    most_lines: int
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one cell, or with a whole line when it names no column."""

    line: int
    column: str
    value: str
    message: str


@dataclass(slots=True)
class Draft(Generic[R]):
    """A table as it was read: the rows without a problem, and every problem found."""

    rows: list[R] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def wrong_lines(self) -> int:
        """In how many lines something is wrong."""
        return len({problem.line for problem in self.problems})

    def note(self, line: int, column: str, value: str, message: str) -> None:
        """Remember a problem."""
        self.problems.append(Problem(line, column, value[:80], message))


def lines_of(content: bytes, shape: Shape, draft: Draft[R]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Return the lines with their numbers, each as the text of its columns; what has too many cells is noted.

    Raises RuleBroken, at once, when the table cannot be read at all.
    """
    lines = _split_lines(content, shape)
    heads = [head.strip().lower().replace(" ", "_") for head in lines[0][1]]
    if unknown := [head for head in heads if head not in shape.columns]:
        columns = ", ".join(shape.columns)
        raise RuleBroken(f"There is no column {unknown[0][:40] or '(empty)'}. Use: {columns}.", field="file")
    if set(shape.needed) - set(heads) or len(set(heads)) < len(heads):
        needed = " and ".join(shape.needed)
        raise RuleBroken(
            f"The first line names each column once, with a column called {needed}.", field="file"
        )
    if len(lines) == 1:
        raise RuleBroken("The file has no line below its heads.", field="file")
    if len(lines) - 1 > shape.most_lines:
        raise RuleBroken(
            f"Use at most {shape.most_lines} lines in one file; this one has {len(lines) - 1:,}.",
            field="file",
        )
    return _cells(heads, lines[1:], draft)


def _cells(
    heads: list[str], lines: Collection[tuple[int, list[str]]], draft: Draft[R]
) -> Iterator[tuple[int, Mapping[str, str]]]:
    for number, cells in lines:
        if len(cells) > len(heads):
            draft.note(number, "", "", f"The line has {len(cells)} cells, its head {len(heads)}.")
        else:
            yield number, dict(zip(heads, (cell.strip() for cell in cells), strict=False))


def _split_lines(content: bytes, shape: Shape) -> list[tuple[int, list[str]]]:
    if len(content) > shape.most_bytes:
        raise RuleBroken(f"Use a file of at most {shape.most_bytes // 1000} kB.", field="file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RuleBroken("The file is not UTF-8. Save it as “CSV UTF-8”.", field="file") from None
    if "\x00" in text:
        raise RuleBroken("This is no CSV file.", field="file")
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        found = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise RuleBroken(f"Line {reader.line_num} cannot be read: {error}.", field="file") from error
    if not found:
        raise RuleBroken("The file is empty.", field="file")
    return found


def parts_of(text: str) -> list[str]:
    """Return what a cell lists with semicolons or commas between, each once."""
    return list(dict.fromkeys(part.strip() for part in text.replace(",", ";").split(";") if part.strip()))


def amount_of(text: str) -> Decimal | None:
    """Return an amount of money, None for an empty cell."""
    text = text.replace(",", "").replace(" ", "").lstrip("$€£¥₹")
    if not text:
        return None
    try:
        amount = Decimal(text)
        if not amount.is_finite() or not 0 <= amount <= MAX_NANO // NANO:
            raise ValueError
        return from_nano(to_nano(amount))
    except (ArithmeticError, ValueError):
        raise RuleBroken("Enter an amount, such as 4500 or 0.25.") from None

"""User tokens from a CSV file: every error of every line is told before anything is issued.

One line is one token. Its project and its person must be there already; what else the form for one token asks may be
left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.credentials.validity import days_allowed
from portal.lib.csv_table import Draft, Shape, amount_of, lines_of, parts_of
from portal.lib.errors import RuleBroken
from portal.lib.names import checked_name
from projects.access import projects_with
from projects.allowed import known_models, unknown_in
from projects.commands import person_known
from projects.models import Project
from tokens.issuing import projects_to_issue_in
from tokens.services import USUAL_NAME, Order, refuse_unless_may_hold

COLUMNS = ("project", "person", "name", "days", "daily_limit", "monthly_limit", "allowed_models")
EXAMPLE = ("contract-reader", "ada@example.com", "notebook", "90", "5", "50", "gpt-5-mini; gpt-5*")
SHAPE = Shape(COLUMNS, needed=("project", "person"), most_lines=200, most_bytes=50_000)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """A line without a problem, and what it would issue."""

    line: int
    order: Order


def read(content: bytes, *, by: Person) -> Draft[Row]:
    """Return what the table would issue and what is wrong with it, where ``by`` may issue tokens.

    Raises RuleBroken when it cannot be read at all.
    """
    draft: Draft[Row] = Draft()
    reader = _Reader(by)
    for number, cells in lines_of(content, SHAPE, draft):
        reader.take(draft, number, cells)
    return draft


class _Reader:
    """Checks one line after the other, and remembers what it has looked up."""

    def __init__(self, by: Person) -> None:
        self.by = by
        self.models = known_models()
        self.projects: dict[str, Project | None] = {}
        self.is_for_others: dict[int, bool] = {}
        self.people: dict[str, Person] = {}
        self.seen: dict[tuple[int, int, str], int] = {}

    def take(self, draft: Draft[Row], line: int, cells: Mapping[str, str]) -> None:
        """Add the line to the draft, or what is wrong with it."""
        before = len(draft.problems)

        def checked(column: str, make: Callable[[str], T]) -> T | None:
            value = cells.get(column, "")
            try:
                return make(value)
            except RuleBroken as broken:
                draft.note(line, column, value, broken.message)
                return None

        project, person = checked("project", self._project), checked("person", self._person)
        name = checked("name", lambda text: checked_name(text or USUAL_NAME))
        days = checked("days", _days)
        daily, monthly = checked("daily_limit", amount_of), checked("monthly_limit", amount_of)
        models = checked("allowed_models", self._models)
        if project is not None and person is not None:
            try:
                self._refuse_unless_allowed(project, person)
            except RuleBroken as broken:
                column = broken.field or "project"
                draft.note(line, column, cells.get(column, ""), broken.message)
            first = self.seen.setdefault((project.pk, person.pk, name or ""), line)
            if first != line:
                draft.note(
                    line, "name", name or "", f"Line {first} is for the same person, project and name."
                )
        if len(draft.problems) == before and project is not None and person is not None:
            order = Order(project, person, name or "", days, models, None, daily, monthly)
            draft.rows.append(Row(line, order))

    def _project(self, code: str) -> Project:
        if code not in self.projects:
            found = projects_to_issue_in(self.by).filter(code=code).first()
            self.projects[code] = found
            if found is not None:
                anywhere = projects_with(self.by, Right.ISSUE_TOKEN)
                self.is_for_others[found.pk] = anywhere.filter(pk=found.pk).exists()
        if (project := self.projects[code]) is None:
            raise RuleBroken("There is no such project in which you may issue tokens. Use its code.")
        return project

    def _person(self, email: str) -> Person:
        if email.lower() not in self.people:
            if not (found := person_known(email) if email else None):
                raise RuleBroken("The portal knows nobody with this address. Add them to the project first.")
            self.people[email.lower()] = found
        return self.people[email.lower()]

    def _refuse_unless_allowed(self, project: Project, person: Person) -> None:
        if person != self.by and not self.is_for_others[project.pk]:
            raise RuleBroken("Here you may issue tokens to yourself alone.", field="person")
        refuse_unless_may_hold(project, person)

    def _models(self, text: str) -> list[str] | None:
        names = parts_of(text)
        if unknown := unknown_in(names, self.models):
            raise RuleBroken(f"The price book has no {unknown[0][:60]}.")
        return names or None


def _days(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):
        raise RuleBroken("Enter a number of days, or leave it empty.")
    return days_allowed(int(text) if text else None)

"""Projects from a CSV file: every error of every line is told before anything is created.

One line is one project, with its owners and members by address. All columns but the name may be left out.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from audit.actors import Actor
from groups.models import Group
from portal.accounts.models import Person
from portal.accounts.people import person_by_address
from portal.lib.csv_table import Draft, Shape, amount_of, lines_of, parts_of
from portal.lib.errors import RuleBroken
from portal.lib.names import checked_code, checked_name, checked_tags, suggested_code
from projects.addresses import Addresses
from projects.allowed import known_models, unknown_in
from projects.commands import person_known
from projects.models import Project
from projects.services import add_member, create_project

COLUMNS = (
    "name",
    "code",
    "group",
    "owners",
    "members",
    "cost_centre",
    "tags",
    "daily_limit",
    "monthly_limit",
    "allowed_models",
    "description",
)
EXAMPLE = (
    "Contract reader",
    "contract-reader",
    "legal",
    "ines@example.com",
    "ada@example.com; max@example.com",
    "4711",
    "pilot; chat",
    "100",
    "2000",
    "",
    "Finds the clauses that matter",
)
SHAPE = Shape(COLUMNS, needed=("name",), most_lines=500, most_bytes=500_000)
_MOST_TEXT = {"cost_centre": 60, "description": 2000}


def read(content: bytes, *, groups: Mapping[str, Group], needs_group: bool) -> Draft[dict[str, Any]]:
    """Return what the file would create and what is wrong with it; ``groups`` (by code) are those one may use.

    Raises RuleBroken when it cannot be read at all.
    """
    draft: Draft[dict[str, Any]] = Draft()
    reader = _Reader(groups, needs_group)
    for number, cells in lines_of(content, SHAPE, draft):
        reader.take(draft, number, cells)
    reader.check_codes(draft)
    return draft


class _Reader:
    """Checks one line after the other, and remembers whom it has looked up."""

    def __init__(self, groups: Mapping[str, Group], needs_group: bool) -> None:
        self.groups, self.needs_group = groups, needs_group
        self.models = known_models()
        self.addresses = Addresses()
        self.codes: dict[str, int] = {}

    def take(self, draft: Draft[dict[str, Any]], line: int, cells: Mapping[str, str]) -> None:
        """Add the line to the draft, or what is wrong with it."""
        before = len(draft.problems)
        row: dict[str, Any] = {"line": line}

        def check(column: str, make: Any) -> None:
            value = cells.get(column, "")
            try:
                row[column] = make(value)
            except RuleBroken as broken:
                draft.note(line, column, value, broken.message)

        check("name", checked_name)
        check("code", lambda value: checked_code(value or suggested_code(cells.get("name", ""))))
        check("group", self._group)
        for column in ("owners", "members"):
            row[column] = []
            for email in parts_of(cells.get(column, "")):
                try:
                    self.addresses.look_up(email)
                except RuleBroken as broken:
                    draft.note(line, column, email, broken.message)
                row[column].append(email)
        check("tags", lambda value: checked_tags(parts_of(value)))
        check("daily_limit", _amount)
        check("monthly_limit", _amount)
        check("allowed_models", self._models)
        for column, most in _MOST_TEXT.items():
            row[column] = cells.get(column, "")
            if len(row[column]) > most:
                draft.note(line, column, row[column], f"Use at most {most} characters.")
        if (code := row.get("code")) in self.codes:
            draft.note(line, "code", str(code), f"Line {self.codes[str(code)]} has the same code.")
        elif code:
            self.codes[code] = line
        if len(draft.problems) == before:
            draft.rows.append(row)

    def check_codes(self, draft: Draft[dict[str, Any]]) -> None:
        """Note the codes that are taken, in one question for the whole file."""
        taken = Project.objects.filter(code__in=self.codes).values_list("code", flat=True)
        for code in sorted(taken, key=lambda each: self.codes[each]):
            draft.note(self.codes[code], "code", code, "Another project has this code.")
        draft.rows = [row for row in draft.rows if row["code"] not in set(taken)]
        draft.problems.sort(key=lambda problem: problem.line)

    def _group(self, code: str) -> str:
        if not code and self.needs_group:
            raise RuleBroken("Name one of your groups by its code.")
        if code and code not in self.groups:
            raise RuleBroken("There is no such group. Use its code.")
        return code

    def _models(self, text: str) -> list[str]:
        names = parts_of(text)
        if unknown := unknown_in(names, self.models):
            raise RuleBroken(f"The price book has no {unknown[0][:60]}.")
        return names


def _amount(text: str) -> str | None:
    """Return an amount as exact text, None for an empty cell."""
    amount = amount_of(text)
    return None if amount is None else str(amount)


def create_row(row: Mapping[str, Any], *, groups: Collection[Group], actor: Actor) -> Project:
    """Create the project of a checked line with its people; raise RuleBroken when it cannot be any more."""
    group = next((each for each in groups if each.code == row["group"]), None)
    if row["group"] and group is None:
        raise RuleBroken(f"There is no group {row['group']} any more.")
    project = create_project(
        code=row["code"],
        name=row["name"],
        group=group,
        owners=_people(row["owners"], actor),
        daily_limit=row["daily_limit"],
        monthly_limit=row["monthly_limit"],
        description=row["description"],
        cost_centre=row["cost_centre"],
        tags=row["tags"],
        allowed_models=row["allowed_models"],
        actor=actor,
        reason="From a CSV file",
    )
    for person in _people(row["members"], actor):
        add_member(project=project, person=person, actor=actor)
    return project


def _people(emails: Sequence[str], actor: Actor) -> list[Person]:
    return [person_known(email) or person_by_address(email=email, actor=actor) for email in emails]

"""People of a project from a CSV file: every error of every line is told before anybody is added.

One line is one person by address; without a role they become a member. Nobody loses anything by it: who is there
stays, and an owner stays one.
"""

from collections.abc import Mapping
from typing import Any

from audit.actors import Actor
from portal.accounts.models import Person
from portal.accounts.people import person_by_address
from portal.accounts.services import refuse_toxic
from portal.lib.csv_table import Draft, Shape, lines_of
from portal.lib.errors import RuleBroken
from projects.addresses import Addresses
from projects.commands import person_known
from projects.models import Membership, Project
from projects.services import add_member

COLUMNS = ("person", "role")
EXAMPLE = ("ada@example.com", "member")
SHAPE = Shape(COLUMNS, needed=("person",), most_lines=500, most_bytes=100_000)
OWNER, MEMBER = Membership.Role.OWNER, Membership.Role.MEMBER


def read(content: bytes, *, project: Project, can_govern: bool) -> Draft[dict[str, Any]]:
    """Return whom the file would add and what is wrong with it; owners are made by those who govern the project.

    Raises RuleBroken when it cannot be read at all.
    """
    draft: Draft[dict[str, Any]] = Draft()
    reader = _Reader(project, can_govern)
    for number, cells in lines_of(content, SHAPE, draft):
        reader.take(draft, number, cells)
    return draft


class _Reader:
    """Checks one line after the other, and remembers whom it has seen."""

    def __init__(self, project: Project, can_govern: bool) -> None:
        self.can_govern = can_govern
        self.addresses = Addresses()
        self.roles = dict(project.memberships.values_list("person", "role"))
        self.lines: dict[int | str, int] = {}

    def take(self, draft: Draft[dict[str, Any]], line: int, cells: Mapping[str, str]) -> None:
        """Add the line to the draft, or what is wrong with it."""
        before = len(draft.problems)
        email, role = cells.get("person", ""), cells.get("role", "").lower() or MEMBER.value
        person: Person | None = None
        try:
            person = self._person(email, line)
        except RuleBroken as broken:
            draft.note(line, "person", email, broken.message)
        try:
            self._check_role(role, person)
        except RuleBroken as broken:
            draft.note(line, "role", cells.get("role", ""), broken.message)
        if len(draft.problems) == before:
            now = self.roles.get(person.pk, "") if person else ""
            draft.rows.append(
                {
                    "line": line,
                    "person": email,
                    "name": person.name if person else "",
                    "role": role,
                    "now": now,
                }
            )

    def _person(self, email: str, line: int) -> Person | None:
        if not email:
            raise RuleBroken("Fill in an address.")
        person = self.addresses.look_up(email)
        first = self.lines.setdefault(person.pk if person else email.lower(), line)
        if first != line:
            raise RuleBroken(f"Line {first} names the same person.")
        return person

    def _check_role(self, role: str, person: Person | None) -> None:
        if role not in Membership.Role.values:
            raise RuleBroken("Enter owner or member, or leave it empty.")
        if role == OWNER and (person is None or self.roles.get(person.pk) != OWNER):
            if not self.can_govern:
                raise RuleBroken("An administrator, or one of the project’s group, makes somebody an owner.")
            if person is not None:
                refuse_toxic(person, role)


def add_row(row: Mapping[str, Any], *, project: Project, can_govern: bool, actor: Actor) -> None:
    """Add the person of a checked line; raise RuleBroken when they cannot be added any more."""
    if row["role"] == OWNER and not can_govern and row["now"] != OWNER:
        raise RuleBroken("You may make nobody an owner any more.")
    person = person_known(row["person"]) or person_by_address(email=row["person"], actor=actor)
    role = MEMBER if row["now"] == OWNER and not can_govern else row["role"]
    add_member(project=project, person=person, role=role, actor=actor, reason="From a CSV file")

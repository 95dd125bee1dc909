"""Addresses of a file: each is looked up once, and how many the directory is asked for is bounded."""

from portal.accounts import graph
from portal.accounts.graph import DirectoryUnavailable
from portal.accounts.models import Person
from portal.lib.errors import RuleBroken
from projects.commands import person_known

MOST_LOOKUPS = 100


class Addresses:
    """Whom the addresses name that have been looked up, and what is wrong with the others."""

    def __init__(self) -> None:
        self._lookups = 0
        self._found: dict[str, Person | None] = {}
        self._problems: dict[str, str] = {}

    def look_up(self, email: str) -> Person | None:
        """Return whom the portal knows by the address, None for somebody only the directory does.

        Raise RuleBroken where the address names nobody who could be added.
        """
        key = email.lower()
        if key not in self._found and key not in self._problems:
            try:
                self._found[key] = self._looked_up(email)
            except RuleBroken as broken:
                self._problems[key] = broken.message
        if key in self._problems:
            raise RuleBroken(self._problems[key])
        return self._found[key]

    def _looked_up(self, email: str) -> Person | None:
        if person := person_known(email):
            if not person.is_active:
                raise RuleBroken("This person is disabled.")
            return person
        self._lookups += 1
        if self._lookups > MOST_LOOKUPS:
            raise RuleBroken(f"More than {MOST_LOOKUPS} people are new here. Use several files.")
        try:
            graph.person_by_mail(email)
        except DirectoryUnavailable:
            raise RuleBroken(
                "The portal does not know this address, and Entra ID does not answer now."
            ) from None
        return None

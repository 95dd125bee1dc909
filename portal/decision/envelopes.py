"""Limits of children that add up to more than their parent's: a group's projects, the organization's groups.

Who belongs to whom is known above; it is named by its dotted path, as a foreign key upward is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.module_loading import import_string

from portal.lib.errors import RuleBroken
from portal.lib.money import format_money
from portal.organization.selectors import current

WINDOWS = ("day", "month")
_CHILD, _PARENT = "projects.envelopes.as_child", "projects.envelopes.as_parent"


@dataclass(frozen=True, slots=True)
class Beyond:
    """The spend limits of one window add up to `total`, the parent's is `limit`; both in nano-units."""

    children: str
    parent: str
    window: str
    total: int
    limit: int

    def in_words(self, currency: str, verb: str = "add up") -> str:
        """Return both numbers in one sentence."""
        total, limit = (
            format_money(amount, currency, 2 if amount % 10**9 else 0) for amount in (self.total, self.limit)
        )
        return (
            f"Limits of {self.children} {verb} to {total} a {self.window}, more than {self.parent}’s {limit}."
        )


def beyond(scope_key: str, wanted: Mapping[str, int | None]) -> list[Beyond]:
    """Return where the wanted amounts (by window) add up to more, in the place and in the one around it."""
    found: list[Beyond] = [
        *import_string(_CHILD)(scope_key, wanted),
        *import_string(_PARENT)(scope_key, wanted),
    ]
    return found


def refuse_beyond(scope_key: str, wanted: Mapping[str, int | None], *, field: str) -> None:
    """Raise RuleBroken with both numbers where the policy refuses that limits add up to more than their parent's.

    To lower a parent is never refused: the lower one holds at once, whatever its children have.
    """
    found: list[Beyond] = import_string(_CHILD)(scope_key, wanted, is_refused=True)
    if found:
        raise RuleBroken(found[0].in_words(current().currency, "would add up"), field=field)

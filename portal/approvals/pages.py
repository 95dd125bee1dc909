"""How requests read."""

from collections.abc import Iterable
from dataclasses import dataclass

from portal.approvals.kinds import kind_of
from portal.approvals.models import Request

STATUS = {
    "waiting": ("warn", "clock"),
    "approved": ("ok", "check"),
    "declined": ("bad", "x"),
    "withdrawn": ("", "circle-minus"),
    "expired": ("", "circle-dashed"),
    "overtaken": ("", "refresh-cw"),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One field before and after, in words."""

    field: str
    before: str
    after: str

    @property
    def is_short(self) -> bool:
        """Whether both sides fit on a line, as amounts do, which are not to be broken inside."""
        return max(len(self.before), len(self.after)) < 20


@dataclass(frozen=True, slots=True)
class Line:
    """A request as lists show it."""

    request: Request
    pairs: list[Pair]
    status: str
    icon: str
    place: str
    href: str


def pairs_of(request: Request, currency: str) -> list[Pair]:
    """Return what the request changes, in words."""
    kind = kind_of(request)
    return [
        Pair(field, kind.in_words(request, before, currency), kind.in_words(request, after, currency))
        for field, (before, after) in request.changes.items()
    ]


def lines_of(requests: Iterable[Request], currency: str) -> list[Line]:
    """Return the requests with their changes, their state and where their thing is."""
    return [
        Line(each, pairs_of(each, currency), *STATUS[each.state], *kind_of(each).target(each))
        for each in requests
    ]

"""One call as the record has it: every row that was booked for it, in the ledger and in the inbox before it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from django.db import connection

from portal.spend.inbox import COLUMNS, Entry, Totals

_NAMED = "SELECT gateway, request_id, moment FROM usage_key WHERE gateway = ANY(%s) AND request_id = %s"
_LIST = ", ".join(COLUMNS)
_ROWS = f"""
    SELECT {_LIST}, FALSE FROM ledger WHERE moment = %(moment)s AND gateway = %(gateway)s AND request_id = %(id)s
    UNION ALL
    SELECT {_LIST}, TRUE FROM usage_inbox WHERE gateway = %(gateway)s AND request_id = %(id)s
"""  # noqa: S608  fixed names
_AT = """
    SELECT DISTINCT gateway, request_id, moment FROM (
        SELECT gateway, request_id, moment, project FROM ledger WHERE moment = %(moment)s
        UNION ALL
        SELECT gateway, request_id, moment, project FROM usage_inbox WHERE moment = %(moment)s) AS booked
     WHERE gateway = %(gateway)s AND project = %(project)s
"""


@dataclass(frozen=True, slots=True)
class Key:
    """What names one call; all rows of it have the same moment."""

    gateway: str
    request_id: str
    moment: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a call; ``is_waiting`` while it is in the inbox."""

    entry: Entry
    is_waiting: bool

    @property
    def is_overrun(self) -> bool:
        """Whether the call cost more than its reservation held."""
        entry = self.entry
        return entry.kind == "settle" and entry.reserved is not None and entry.spend > entry.reserved


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its rows in the order they arrived, and what they come to together."""

    rows: Sequence[Row]

    @property
    def settled(self) -> Entry | None:
        """The row that reports it, if it was reported."""
        return next((row.entry for row in self.rows if row.entry.kind == "settle"), None)

    @property
    def corrigible(self) -> Entry | None:
        """The row that a correction names: the report, or the estimate as long as nobody has reported the call."""
        return self.settled or next((row.entry for row in self.rows if row.entry.kind == "estimate"), None)

    @property
    def entry(self) -> Entry:
        """The row that says most about it."""
        return self.settled or self.rows[0].entry

    @property
    def totals(self) -> Totals:
        """What it comes to, estimates that were reversed and corrections included."""
        names = (field.name for field in fields(Totals))
        return Totals(*(sum(getattr(row.entry, name) for row in self.rows) for name in names))


def keys_of(request_id: str, gateways: Sequence[str]) -> list[Key]:
    """Return the calls of the gateways under a request id; they are known as long as settlement keys are kept."""
    with connection.cursor() as cursor:
        cursor.execute(_NAMED, [list(gateways), request_id])
        return [Key(*row) for row in cursor.fetchall()]


def keys_at(moment: datetime, gateway: str, project: int) -> list[Key]:
    """Return the calls of a project that a gateway was admitted at exactly that moment."""
    with connection.cursor() as cursor:
        cursor.execute(_AT, {"moment": moment, "gateway": gateway, "project": project})
        return [Key(*row) for row in cursor.fetchall()]


def call_of(key: Key) -> Call | None:
    """Return the call with all its rows; None when none is left of it."""
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, {"moment": key.moment, "gateway": key.gateway, "id": key.request_id})
        rows = [Row(Entry(*row[:-1]), row[-1]) for row in cursor.fetchall()]
    rows.sort(key=lambda row: (row.entry.arrived, row.entry.id))
    return Call(rows) if rows else None

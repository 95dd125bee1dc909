"""Entries as they leave the portal: rows for a spreadsheet, or lines of JSON from which the hashes can be computed."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from audit.models import AuditSeal

# fmt: off
HEADS = (
    "Entry", "Time", "Action", "Outcome", "Made by", "Actor type", "Actor id", "Object type",
    "Object id", "Object", "Project id", "Group id", "Before", "After", "Comment",
    "Reason", "From", "User agent", "Signed in with", "Request", "Hash", "Previous hash",
)
# fmt: on


def cells_of(seal: AuditSeal) -> list[object]:
    """Return an entry as a row below HEADS."""
    entry = seal.entry
    before, after = (
        json.dumps({name: pair[side] for name, pair in entry.changes.items()}, ensure_ascii=False)
        for side in (0, 1)
    )
    return [
        seal.seq,
        entry.occurred,
        entry.action,
        entry.outcome,
        entry.actor_display,
        entry.actor_type,
        entry.actor_id,
        entry.target_type,
        entry.target_id,
        entry.target_label,
        entry.project_id,
        entry.group_id,
        before if entry.changes else "",
        after if entry.changes else "",
        entry.comment,
        entry.reason,
        entry.ip,
        entry.user_agent,
        entry.auth,
        entry.request_id,
        seal.hash,
        seal.prev_hash,
    ]


def _line_of_json(seal: AuditSeal) -> str:
    """Return an entry as one line; ``entry`` stands there letter by letter as it was hashed."""
    return f'{{"seq":{seal.seq},"prev_hash":"{seal.prev_hash}","hash":"{seal.hash}","entry":{seal.entry.canonical}}}\n'


@dataclass(slots=True)
class Manifest:
    """What an export holds, so that whoever got it sees whether it came whole."""

    rows: int = 0
    first_seq: int | None = None
    last_seq: int | None = None
    last_hash: str | None = None

    def counting(self, seals: Iterable[AuditSeal]) -> Iterator[AuditSeal]:
        """Yield the entries, whatever their order, and count them."""
        for seal in seals:
            self.rows += 1
            if self.first_seq is None or seal.seq < self.first_seq:
                self.first_seq = seal.seq
            if self.last_seq is None or seal.seq > self.last_seq:
                self.last_seq, self.last_hash = seal.seq, seal.hash
            yield seal

    def line(self) -> str:
        """Return it as the last line."""
        return f"{json.dumps({'manifest': asdict(self)})}\n"


def lines_of_json(seals: Iterable[AuditSeal]) -> Iterator[str]:
    """Yield each entry as a line, and the manifest as the last."""
    manifest = Manifest()
    for seal in manifest.counting(seals):
        yield _line_of_json(seal)
    yield manifest.line()

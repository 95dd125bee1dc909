"""Anchors: the end of the chain as it was, in files outside of the database, one for each moment.

A file ``audit-<seq>.anchor`` holds one line, ``<seq> <hash> <time>``. It is never written twice, so a directory
that only takes new files (an immutable bucket, another machine's share) will do.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from audit.models import AuditSeal
from audit.selectors import last_entry

_LINE = re.compile(r"(\d{1,18}) ([0-9a-f]{64}) (\S{1,40})\n")


class BadAnchor(ValueError):
    """A file that is named like an anchor holds something else."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The hash of an entry, and when it was the last of the log."""

    seq: int
    hash: str
    time: str


def write_anchor(directory: Path, seal: AuditSeal | None = None) -> Path | None:
    """Write down the end of the chain, or the entry given; None where there is no entry. Safe to repeat."""
    seal = seal or last_entry()
    if seal is None:
        return None
    path = directory / f"audit-{seal.seq:012}.anchor"
    if not path.exists():
        fresh = directory / f".{path.name}.part"
        fresh.write_text(f"{seal.seq} {seal.hash} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n")
        fresh.replace(path)
    return path


def read_anchors(directory: Path) -> Iterator[Anchor]:
    """Yield the anchors of a directory by their number; raise BadAnchor for one that cannot be read."""
    for path in sorted(directory.glob("audit-*.anchor")):
        found = _LINE.fullmatch(path.read_text(errors="replace"))
        if found is None:
            raise BadAnchor(f"{path} does not hold one line: number, hash, time.")
        yield Anchor(int(found[1]), found[2], found[3])

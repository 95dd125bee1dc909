"""Prove the log: compute its chain again, hold the columns to what is hashed, and the chain to anchors outside.

The chain alone finds what was changed, removed or exchanged inside it. Whoever owns the database can compute a
chain anew from some entry on, or cut off its end; only an anchor that was written elsewhere before finds that.
"""

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.db import connection, transaction

from audit.anchors import Anchor
from audit.models import AuditEntry, AuditSeal
from audit.selectors import in_order, last_entry, sealed_entries
from audit.services import plain

MOST_FINDINGS = 20
FIRST = "0" * 64
_VERSION = "1"
# Not in the canonical text: the clock of the database, and what has had one value only so far.
_CONSTANT = {"correlation_id": "", "organization_id": 1, "schema_version": 1}
_OUTSIDE = frozenset({"recorded", "canonical", *_CONSTANT})
_COLUMNS = tuple(each.attname for each in AuditEntry._meta.concrete_fields if each.name not in _OUTSIDE)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written: the entry number, if it has one, and what."""

    seq: int | None
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{'Unsealed' if self.seq is None else f'Entry {self.seq}'}: {self.what}: {self.detail}"


@dataclass(slots=True)
class Proof:
    """What a verification read, and the first of what it found."""

    entries: int = 0
    last_seq: int = 0
    last_hash: str = FIRST
    anchors: int = 0
    found: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, seq: int | None, what: str, detail: str) -> None:
        """Keep a finding; beyond the first ones they are only counted."""
        self.found += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(seq, what, detail))


def verify(anchors: Iterable[Anchor] = ()) -> Proof:
    """Read the whole log once, some entries at a time, up to its end as it is now; then hold it to the anchors."""
    proof = Proof()
    last = last_entry()
    for seal in in_order(sealed_entries(), up_to=last.seq if last else 0):
        _check(seal, proof)
    _find_unsealed(proof)
    each = iter(anchors)
    while some := list(islice(each, 500)):
        _hold_to(some, proof)
    return proof


def _check(seal: AuditSeal, proof: Proof) -> None:
    entry = seal.entry
    if seal.seq != proof.last_seq + 1:
        proof.add(seal.seq, "gap", f"the entry before it is {proof.last_seq}, not {seal.seq - 1}")
    elif seal.prev_hash != proof.last_hash:
        proof.add(seal.seq, "order", "its previous hash is not the hash of the entry before it")
    text = f"{seal.prev_hash}{_VERSION}{entry.canonical}"
    if seal.hash != hashlib.sha256(text.encode()).hexdigest():
        proof.add(seal.seq, "hash", "its text is not what was sealed")
    elif wrong := list(_differing(entry)):
        proof.add(seal.seq, "column", f"not as in its sealed text: {', '.join(wrong)}")
    proof.entries += 1
    proof.last_seq, proof.last_hash = seal.seq, seal.hash


def _differing(entry: AuditEntry) -> Iterator[str]:
    try:
        sealed = dict(json.loads(entry.canonical))
    except (TypeError, ValueError):
        yield "canonical"
        return
    for name in _COLUMNS:
        kept = plain(getattr(entry, name))
        if kept != sealed.get(name) and not (name == "ip" and _same_address(kept, sealed.get(name))):
            yield name
    yield from (name for name, value in _CONSTANT.items() if getattr(entry, name) != value)


def _same_address(one: Any, other: Any) -> bool:
    """Postgres and Python write some IPv6 addresses differently."""
    return bool(one and other) and ipaddress.ip_address(one) == ipaddress.ip_address(other)


def _find_unsealed(proof: Proof) -> None:
    """An entry and its seal are committed together, so one statement sees both or none."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(
            "SELECT e.id FROM audit_entry AS e"
            " WHERE NOT EXISTS (SELECT FROM audit_seal AS s WHERE s.entry_id = e.id) LIMIT %s",
            [MOST_FINDINGS],
        )
        for (key,) in cursor.fetchall():
            proof.add(None, "unsealed", f"{key} is not in the chain")


def _hold_to(anchors: list[Anchor], proof: Proof) -> None:
    numbers = [each.seq for each in anchors]
    hashes = dict(AuditSeal.objects.filter(seq__in=numbers).values_list("seq", "hash"))
    for each in anchors:
        proof.anchors += 1
        if each.seq not in hashes:
            proof.add(each.seq, "truncated", f"anchored at {each.time}, but not in the log any more")
        elif hashes[each.seq] != each.hash:
            proof.add(each.seq, "rewritten", f"its hash is not the one anchored at {each.time}")

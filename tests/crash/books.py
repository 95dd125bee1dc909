"""What must hold afterwards: the gateways' histories against the record of the portal."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from fractions import Fraction
from typing import Any

import psycopg

from portal.lib.money import decimal_string
from tests.crash.estate import REVOKED, Estate
from tests.crash.found import LIMIT, PRICES
from tests.crash.gateway import read

ENOUGH = 50  # calls that were acknowledged; with fewer nothing was tried

_ROWS = """
    SELECT gateway, request_id, kind, input_tokens, output_tokens, spend FROM ledger
    UNION ALL SELECT gateway, request_id, kind, input_tokens, output_tokens, spend FROM usage_inbox
"""


def cost(event: dict[str, Any]) -> int:
    """Return what the call costs in nano-units, rounded once."""
    exact: Fraction = (
        Fraction(PRICES[0]) * event["input_tokens"] + Fraction(PRICES[1]) * event["output_tokens"]
    )
    return round(exact * 1000)


def compare(estate: Estate, revoked_at: float, lost: int) -> str:
    """Raise AssertionError when history and record differ; return what there was."""
    booked: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    with psycopg.connect(estate.owner) as connection:
        for gateway, request_id, *row in connection.execute(_ROWS):
            booked.setdefault((gateway, request_id), []).append(tuple(row))
        _audit_is_whole(connection)
    told = Counter[str]()
    spent = Counter[str]()
    projects = {each["id"]: each["project"] for each in estate.facts["credentials"]}
    revoked = estate.facts["credentials"][REVOKED]["id"]
    for number, gateway in enumerate(estate.facts["gateways"]):
        calls: dict[str, dict[str, Any]] = {}
        for line in read(estate.history(number)):
            calls.setdefault(line["id"], {})[line["what"]] = line
            assert line["what"] != "wrong", line
            assert line.get("status") != 500, line
        for request_id, call in calls.items():
            rows = booked.pop((gateway["id"], request_id), [])
            settled = [row for row in rows if row[0] == "settle"]
            if "ok" in call:
                kind, event = "ok", call["used"]["event"]
                wanted = [("settle", event["input_tokens"], event["output_tokens"], cost(event))]
                assert settled == wanted, (request_id, rows, event)
            elif "used" in call:
                kind = "unknown"
                assert len(settled) <= 1, (request_id, rows)
            else:
                kind = "fail"
                assert not settled, (request_id, rows, call)
            told[kind] += 1
            if "allowed" in call:
                credential = call["allowed"]["credential"]
                assert credential != revoked or call["ask"]["at"] <= revoked_at, ("revoked", call)
                spent[projects[credential]] += sum(row[3] for row in rows)
            told["refused"] += "refused" in call
    assert not booked, f"nobody made these calls: {list(booked)[:3]}"
    assert told["ok"] > ENOUGH, f"too little was going on: {told}"
    limit = int(LIMIT * 10**9)
    assert spent["tight"] <= limit + lost, (spent, limit, lost)
    return (
        f"{dict(told)}, {decimal_string(spent['tight'])} of {LIMIT} spent where it is limited,"
        f" at most {decimal_string(lost)} in lost reservations"
    )


def _audit_is_whole(connection: psycopg.Connection[Any]) -> None:
    """Follow the chain: no entry is missing, none was changed."""
    last, count = "0" * 64, 0
    rows = connection.execute(
        "SELECT s.seq, s.prev_hash, s.hash, e.canonical FROM audit_seal AS s"
        " LEFT JOIN audit_entry AS e ON e.id = s.entry_id ORDER BY s.seq"
    )
    for count, (seq, previous, own, canonical) in enumerate(rows, 1):
        assert (seq, previous) == (count, last), f"audit entry {seq} is out of place"
        assert canonical is not None, f"audit entry {seq} is missing"
        assert own == hashlib.sha256(f"{last}1{canonical}".encode()).hexdigest(), f"audit entry {seq} differs"
        last = own
    found = connection.execute("SELECT count(*) FROM audit_entry").fetchone()
    assert found == (count,), "an audit entry has no seal"


def acknowledged(estate: Estate) -> int:
    """Return how much usage the gateways know to be taken."""
    return sum(
        line["what"] == "ok"
        for number in range(len(estate.facts["gateways"]))
        for line in read(estate.history(number))
    )


def is_drained(estate: Estate) -> bool:
    """Whether nothing waits any more in the inbox."""
    with psycopg.connect(estate.owner) as connection:
        return connection.execute("SELECT EXISTS (SELECT FROM usage_inbox)").fetchone() == (False,)


def lost_since(estate: Estate, since: float) -> int:
    """Return the most that reservations lost since the moment can have held, as the portal measures it."""
    text = (
        "from datetime import UTC, datetime; from portal.decision.lost import count_lost, lost_since;"
        f"count_lost(); print(lost_since(datetime.fromtimestamp({since}, UTC)).reserved)"
    )
    return int(estate.manage("shell", "--no-imports", "-c", text).split()[-1])


def agree(estate: Estate) -> None:
    """Let the portal compare its own books."""
    found = json.loads(estate.manage("reconcile_spend", "--json"))
    assert not any(found.get(name) for name in ("counters", "reserved", "roll_ups")), found
    estate.manage("check_limits", "--json")

"""How Postgres facts look to the functions in Valkey."""

import json
from typing import Any

from portal.decision import valkey
from portal.lib import windows
from portal.spend import settled
from portal.spend.settled import LimitKey

BASE = 10**9


def snapshot_json(snapshot: settled.Snapshot) -> str:
    """Return the snapshot as the functions take it."""
    return json.dumps([snapshot.xmax, list(snapshot.running)])


def limit_keys(scope_key: str, data: dict[str, Any]) -> list[LimitKey]:
    """Return the limits of a subject ``l:SCOPE``."""
    return [LimitKey(scope_key, metric, window, model) for metric, window, model, *_ in data["limits"]]


def counter_rows(found: dict[str, tuple[LimitKey, int, int]]) -> list[list[Any]]:
    """Return counters as the functions take them: key, start, settled hi, lo."""
    return [[key, start, *divmod(amount, BASE)] for key, (_, start, amount) in found.items()]


def calendar(moment: float, zone: str) -> dict[str, windows.Window]:
    """Return the day, week and month of the moment by name."""
    return {window.kind: window for window in windows.windows_at(moment, zone)}


def server_time() -> float:
    """Return the clock of Valkey in seconds: the authority for windows."""
    seconds, micros = valkey.command("TIME")
    return int(seconds) + int(micros) / 1_000_000

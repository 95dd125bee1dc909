"""From the inbox to ledger and roll-ups, against a bare COPY of the same rows into the same indexes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from time import perf_counter

from tests.bench.row import Row, interleaved


def row(order: Mapping[str, str]) -> Row:
    """Measure rows a second."""
    from django.db import connection

    from portal.lib.uuid7 import uuid7
    from portal.spend import inbox
    from portal.spend.inbox import COLUMNS, Entry

    now = datetime.now(UTC)
    size = 10_000

    def rows() -> list[Entry]:
        return [
            Entry(
                uuid7(), now, now.date(), "settle", None, "bench", str(uuid7()), f"cred{number % 500:08d}",
                number % 200, number % 20, number % 400, None, f"model-{number % 7}", 1, "ok", 1, 100, 0, 0, 50, 0,
                1_000_000, 2_000_000, None, False, False, now, now,
            )
            for number in range(size)
        ]  # fmt: skip

    def ours() -> float:
        entries = rows()
        for start in range(0, size, 1000):
            inbox.add_settlements(entries[start : start + 1000])
        waiting = inbox.waiting(size)
        begun = perf_counter()
        inbox.move(waiting)
        return len(waiting) / (perf_counter() - begun)

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_ledger (LIKE ledger INCLUDING ALL)")

    def baseline() -> float:
        entries = rows()
        begun = perf_counter()
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY bench_ledger ({', '.join(COLUMNS)}) FROM STDIN") as copy,
        ):
            for entry in entries:
                copy.write_row([getattr(entry, name) for name in COLUMNS])
        return size / (perf_counter() - begun)

    mine, theirs = interleaved(ours, baseline)
    return Row("inbox to ledger and roll-ups, 10,000 rows", "rows/s", mine, theirs, 0.4)

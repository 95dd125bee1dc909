"""Checking 100,000 projects against their limits, against the two bare aggregates over the same roll-ups."""

from collections.abc import Mapping
from time import perf_counter

from tests.bench.row import Row, interleaved

PROJECTS = 100_000
_LIMITS = """
INSERT INTO spend_limit (scope_key, metric, "window", model, mode, amount, changed, changed_by)
SELECT 'p:' || 1000000 + g, 'spend', w, '', 'enforce', 1000000000000, now(), 'bench'
  FROM generate_series(1, %s) AS g, unnest(ARRAY['day', 'month']) AS w
"""
# Each project is used on every third day of the month.
_ROLLUPS = """
INSERT INTO spend_rollup
  (scope_key, day, model, calls, failed, cancelled, input_tokens, cached_input_tokens, output_tokens, spend)
SELECT 'p:' || 1000000 + g, d, 'bench', 10, 0, 0, 1000, 0, 500, 1000000 + g
  FROM generate_series(1, %s) AS g, generate_series(%s::date, %s::date, '1 day') AS d
 WHERE (g + extract(day FROM d)::int) %% 3 = 0
"""
_BARE = "SELECT scope_key, sum(spend) AS spend FROM spend_rollup WHERE day >= %s GROUP BY scope_key"


def row(order: Mapping[str, str]) -> Row:
    """Measure the statement that `check_limits` runs every minute; milliseconds."""
    from django.db import connection

    from portal.decision import state
    from portal.organization.selectors import current
    from portal.spend import standings

    windows = state.calendar(state.server_time(), current().zone)
    today, month = windows["day"].first, windows["month"].first
    with connection.cursor() as cursor:
        cursor.execute(_LIMITS, [PROJECTS])
        cursor.execute(_ROLLUPS, [PROJECTS, month, today])
        cursor.execute("VACUUM ANALYZE spend_rollup")
        cursor.execute("VACUUM ANALYZE spend_limit")

    def ours() -> float:
        begun = perf_counter()
        standings.standings(windows, 50)
        return (perf_counter() - begun) * 1000

    def bare() -> float:
        begun = perf_counter()
        with connection.cursor() as cursor:
            for first in (today, month):
                # What is sent is one number, made of all sums: a column nobody reads would not be summed at all.
                cursor.execute(f"SELECT max(spend) FROM ({_BARE}) AS sums", [first])  # noqa: S608  fixed text
                cursor.fetchone()
        return (perf_counter() - begun) * 1000

    mine, theirs = interleaved(ours, bare)
    return Row("check of 100,000 projects, day and month", "ms", mine, theirs, 2.0, at_most=True)

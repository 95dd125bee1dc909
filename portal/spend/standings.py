"""How much of every limit is used: one pass over the roll-ups for all limits together, whatever their number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from portal.lib.windows import Window
from portal.spend.settled import SCOPES_OF_ROW, LimitKey


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a limit is used in its current window, by the scope that counts (of an each-user limit: one user).

    `told` is the highest threshold that was reported in this window, 0 for none.
    """

    pk: int
    limit: LimitKey
    scope_key: str
    start: int
    used: int
    amount: int
    told: int

    @property
    def counter(self) -> str:
        """The key of the counter in Valkey."""
        return self.limit.counter(self.scope_key)

    @property
    def percent(self) -> int:
        """Whole percent, never rounded up to 100."""
        return 100 if self.amount == 0 else self.used * 100 // self.amount


_WINDOWS = ("day", "week", "month")
_AMOUNTS = {"spend": "spend", "requests": "calls", "tokens": "input_tokens + output_tokens"}
_BASE = f"""(
    SELECT scope_key, day, model, calls, input_tokens + output_tokens AS tokens, spend FROM spend_rollup
     WHERE day >= %(first)s
    UNION ALL
    SELECT scope.scope_key, i.day, i.model, i.calls, i.input_tokens + i.output_tokens, i.spend
      FROM usage_inbox AS i CROSS JOIN LATERAL {SCOPES_OF_ROW.format(row="i")}
     WHERE i.day >= %(first)s AND scope.scope_key IS NOT NULL
)"""  # noqa: S608  fixed names
_BEGINS = """(CASE l."window" WHEN 'day' THEN %(day)s WHEN 'week' THEN %(week)s ELSE %(month)s END)"""
_TOLD = """
  LEFT JOIN LATERAL (
    SELECT max(a.threshold) AS threshold FROM limit_alert AS a WHERE a.limit_id = f.id AND a.counter = f.counter
       AND a.window_start = (CASE f."window" WHEN 'day' THEN %(day_start)s WHEN 'week' THEN %(week_start)s
                             ELSE %(month_start)s END)
  ) AS told ON true
"""
_COUNTS = """l.mode = 'enforce' AND l."window" IN ('day', 'week', 'month')"""
# The first part alone is cheap and turns nearly every limit away; it turns away none that the exact part accepts.
_ENOUGH = "{used} >= l.amount / 100 * %(least)s AND 100 * {used} >= l.amount::numeric * %(least)s"
# A hundred thousand sums in one hash table instead of on disk.
_MEMORY = "SET LOCAL work_mem = '64MB'"

# Limits on one scope and every model: each scope is summed once, for all its windows and metrics. Roll-ups and inbox
# are summed apart: of the roll-ups the planner knows how many scopes they have.
_PLAIN = """
    SELECT l.id, l.scope_key, l.metric, l."window", l.model, l.amount, l.scope_key AS counter, {used} AS used
      FROM spend_limit AS l
      LEFT JOIN (SELECT scope_key, {sums} FROM spend_rollup WHERE day >= %(first)s GROUP BY scope_key) AS u
             ON u.scope_key = l.scope_key
      LEFT JOIN (SELECT scope.scope_key, {sums} FROM usage_inbox AS i CROSS JOIN LATERAL {scopes}
                  WHERE i.day >= %(first)s AND scope.scope_key IS NOT NULL GROUP BY scope.scope_key) AS w
             ON w.scope_key = l.scope_key
     WHERE {counts} AND l.model = '' AND right(l.scope_key, 2) <> ':*' AND {enough}
"""
# Limits on some models, or on each user: a named user's own row stands in for the general one.
_OTHER = """
    SELECT l.id, l.scope_key, l.metric, l."window", l.model, l.amount, u.scope_key AS counter, sum({amount}) AS used
      FROM {base} AS u
      JOIN spend_limit AS l ON l.scope_key = {scope} AND u.day >= {begins}
       AND (l.model IN ('', u.model) OR right(l.model, 1) = '*' AND starts_with(u.model, left(l.model, -1)))
     WHERE {counts} AND {which}
     GROUP BY l.id, u.scope_key HAVING {enough}
"""
_AMOUNT = "CASE l.metric WHEN 'spend' THEN u.spend WHEN 'requests' THEN u.calls ELSE u.tokens END"
_SOME_MODELS = "l.model <> '' AND right(l.scope_key, 2) <> ':*'"
_EACH_USER = """right(l.scope_key, 2) = ':*' AND (u.scope_key LIKE 'pu:%%' OR u.scope_key LIKE 'u:%%')
       AND NOT EXISTS (SELECT 1 FROM spend_limit AS n WHERE n.scope_key = u.scope_key AND n.metric = l.metric
                          AND n."window" = l."window" AND n.model = l.model)"""


def standings(windows: Mapping[str, Window], least: int) -> list[Standing]:
    """Return the enforced calendar limits of which at least `least` percent are used in the given windows."""
    parameters: dict[str, Any] = {"least": least}
    for kind in _WINDOWS:
        parameters[kind] = windows[kind].first
        parameters[f"{kind}_start"] = datetime.fromtimestamp(windows[kind].start, UTC)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MEMORY)
        cursor.execute(
            "SELECT DISTINCT metric, \"window\", model = '', right(scope_key, 2) = ':*' FROM spend_limit"
            " WHERE mode = 'enforce' AND \"window\" IN ('day', 'week', 'month')"
        )
        shapes = cursor.fetchall()
        # Days before the first window that some limit has are not read.
        first = min((windows[window].first for _, window, _, _ in shapes), default=None)
        if first is None:
            return []
        cursor.execute(_statement(shapes), parameters | {"first": first})
        rows = cursor.fetchall()
    return [
        Standing(row[0], LimitKey(*row[1:5]), row[6], windows[row[3]].start, int(row[7]), row[5], row[8] or 0)
        for row in rows
    ]


def _sums(kinds: Sequence[tuple[str, str]]) -> str:
    """Return the columns that sum each metric over each window."""
    return ", ".join(
        f"sum({_AMOUNTS[metric]}) FILTER (WHERE day >= %({window})s) AS {metric}_{window}"
        for metric, window in kinds
    )


def _case(kinds: Sequence[tuple[str, str]], sums: str) -> str:
    """Return the expression that picks the sum that a limit is about."""
    cases = " ".join(
        f"WHEN l.\"window\" = '{window}' AND l.metric = '{metric}' THEN {sums}.{metric}_{window}"
        for metric, window in kinds
    )
    return f"CASE {cases} END"


def _statement(shapes: list[tuple[str, str, bool, bool]]) -> str:
    """Return the statement for the kinds of limits there are; it is made of the fixed texts above alone."""
    parts = []
    plain = sorted({shape[:2] for shape in shapes if shape[2] and not shape[3]})
    if plain:
        used = f"(coalesce({_case(plain, 'u')}, 0) + coalesce({_case(plain, 'w')}, 0))"
        text = _PLAIN.format(
            used=used,
            sums=_sums(plain),
            scopes=SCOPES_OF_ROW.format(row="i"),
            counts=_COUNTS,
            enough=_ENOUGH.format(used=used),
        )
        parts.append(text)
    for is_there, scope, which in (
        (any(not shape[2] and not shape[3] for shape in shapes), "u.scope_key", _SOME_MODELS),
        (any(shape[3] for shape in shapes), "regexp_replace(u.scope_key, '[^:]*$', '*')", _EACH_USER),
    ):
        if is_there:
            text = _OTHER.format(
                base=_BASE,
                scope=scope,
                begins=_BEGINS,
                amount=_AMOUNT,
                counts=_COUNTS,
                which=which,
                enough=_ENOUGH.format(used=f"sum({_AMOUNT})"),
            )
            parts.append(text)
    return f"SELECT f.*, told.threshold FROM ({' UNION ALL '.join(parts)}) AS f {_TOLD}"  # noqa: S608

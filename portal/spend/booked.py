"""What the record itself says of a span of time: ledger and inbox, in one statement. For commands, not for pages."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Sum

from portal.spend.models import Refusal


@dataclass(frozen=True, slots=True)
class Booked:
    """Calls of any status, model tokens, nano-units, and calls refused."""

    calls: int
    input_tokens: int
    output_tokens: int
    spend: int
    refused: int


_WHERE = """
    (%(project)s::bigint IS NULL OR project = %(project)s) AND (%(group)s::bigint IS NULL OR group_id = %(group)s)
    AND (%(since)s::timestamptz IS NULL OR moment >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR moment < %(until)s)
"""
_SUM = f"""
    SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(input_tokens), 0)::bigint,
           coalesce(sum(output_tokens), 0)::bigint, coalesce(sum(spend), 0)::numeric
      FROM (SELECT calls, input_tokens, output_tokens, spend FROM ledger WHERE {_WHERE}
            UNION ALL
            SELECT calls, input_tokens, output_tokens, spend FROM usage_inbox WHERE {_WHERE}) AS booked
"""  # noqa: S608  fixed texts, values are parameters


def booked(
    *,
    project: int | None = None,
    group: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Booked:
    """Return what was booked for moments ``since <= moment < until``: of a project, of a group, or of everybody."""
    with connection.cursor() as cursor:
        cursor.execute(_SUM, {"project": project, "group": group, "since": since, "until": until})
        calls, input_tokens, output_tokens, spend = cursor.fetchone()
    refusals = Refusal.objects.filter(is_observed=False)
    for name, value in (
        ("project", project),
        ("group", group),
        ("occurred__gte", since),
        ("occurred__lt", until),
    ):
        if value is not None:
            refusals = refusals.filter(**{name: value})
    refused = refusals.aggregate(count=Sum("count"))["count"] or 0
    return Booked(calls, input_tokens, output_tokens, int(spend), refused)

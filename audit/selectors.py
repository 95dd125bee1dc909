"""Questions about the log: by entry number, newest first. The number is the entry's place in the hash chain.

The log is never counted and never skipped through: every question walks an index from one end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import Max, Q, QuerySet

from audit.models import AuditSeal

SIZE = 50
MOST_ACTORS = 200
_BATCH = 1000
# An entry's id is made a moment before its time is taken, on the same clock.
_SLACK = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Some entries, newest first; `newer` and `older` are the numbers beside which the pages around begin."""

    rows: list[AuditSeal]
    newer: int | None
    older: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What narrows the log; what is empty does not. `since` <= time < `until`."""

    text: str = ""
    action: str = ""
    actor: str = ""
    target_type: str = ""
    project: int | None = None
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None


def sealed_entries() -> QuerySet[AuditSeal]:
    """Return the whole log: each place of the chain with its entry."""
    return AuditSeal.objects.select_related("entry")


def last_entry() -> AuditSeal | None:
    """Return the end of the chain; None while nothing was written."""
    return sealed_entries().order_by("-seq").first()


def matching(rows: QuerySet[AuditSeal], wanted: Wanted) -> QuerySet[AuditSeal]:
    """Return the entries that fit all that is wanted."""
    exact = {
        "entry__action": wanted.action,
        "entry__actor_id": wanted.actor,
        "entry__target_type": wanted.target_type,
        "entry__project_id": wanted.project,
        "entry__outcome": wanted.outcome,
    }
    rows = rows.filter(**{name: value for name, value in exact.items() if value})
    if wanted.text:
        rows = rows.filter(_about(wanted.text))
    # Ids sort by time and are indexed, so a period is a stretch of them; the exact ends are checked besides.
    if wanted.since:
        rows = rows.filter(entry__gte=first_id(wanted.since - _SLACK), entry__occurred__gte=wanted.since)
    if wanted.until:
        rows = rows.filter(entry__lt=first_id(wanted.until + _SLACK), entry__occurred__lt=wanted.until)
    return rows


def _about(text: str) -> Q:
    found = (
        Q(entry__target_label__icontains=text)
        | Q(entry__actor_display__icontains=text)
        | Q(entry__target_id=text)
        | Q(entry__request_id=text)
    )
    number = text.replace(",", "")
    return found | Q(seq=int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else found


def first_id(moment: datetime) -> UUID:
    """Return the lowest id an entry of that moment can have."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def page_of_entries(
    rows: QuerySet[AuditSeal], *, before: int | None = None, after: int | None = None, size: int = SIZE
) -> EntryPage:
    """Return the entries just before a number, or just after one, or the newest."""
    if after is not None and before is None:
        found = list(rows.filter(seq__gt=after).order_by("seq")[: size + 1])
        if len(found) > size:
            page = found[size - 1 :: -1]
            return EntryPage(page, page[0].seq, page[-1].seq)
    earlier = rows if before is None else rows.filter(seq__lt=before)
    found = list(earlier.order_by("-seq")[: size + 1])
    page, newer = found[:size], None
    if before is not None:
        first = page[0].seq if page else before - 1
        newer = first if rows.filter(seq__gt=first).order_by("seq").exists() else None
    return EntryPage(page, newer, page[-1].seq if len(found) > size else None)


def in_batches(rows: QuerySet[AuditSeal], *, up_to: int) -> Iterator[AuditSeal]:
    """Yield the entries up to a number, newest first, some at a time: no long transaction, no long answer."""
    before = up_to + 1
    while batch := list(rows.filter(seq__lt=before).order_by("-seq")[:_BATCH]):
        yield from batch
        before = batch[-1].seq


def in_order(rows: QuerySet[AuditSeal], *, up_to: int) -> Iterator[AuditSeal]:
    """Yield the entries up to a number, oldest first, some at a time."""
    after = 0
    while batch := list(rows.filter(seq__gt=after, seq__lte=up_to).order_by("seq")[:_BATCH]):
        yield from batch
        after = batch[-1].seq


_EACH_ACTOR = """
    WITH RECURSIVE each (actor_id) AS (
        (SELECT actor_id FROM audit_entry ORDER BY actor_id LIMIT 1)
        UNION ALL
        SELECT (SELECT actor_id FROM audit_entry WHERE actor_id > each.actor_id ORDER BY actor_id LIMIT 1)
          FROM each WHERE each.actor_id IS NOT NULL
    )
    SELECT last.actor_id, last.actor_display
      FROM each CROSS JOIN LATERAL (
        SELECT actor_id, actor_display, id FROM audit_entry
         WHERE actor_id = each.actor_id ORDER BY id DESC LIMIT 1) AS last
     WHERE last.actor_id <> '' ORDER BY last.id DESC LIMIT %s
"""


def actors_of_all() -> list[tuple[str, str]]:
    """Return who acted lately, id and name, from the index alone: one step for each actor, not for each entry."""
    with connection.cursor() as cursor:
        cursor.execute(_EACH_ACTOR, [MOST_ACTORS])
        return [(row[0], row[1]) for row in cursor.fetchall()]


def actors_in(rows: QuerySet[AuditSeal]) -> list[tuple[str, str]]:
    """Return who acted lately in a part of the log, id and name."""
    found = (
        rows.exclude(entry__actor_id="")
        .order_by()
        .values_list("entry__actor_id")
        .annotate(last=Max("entry__occurred"), name=Max("entry__actor_display"))
        .order_by("-last")
    )
    return [(actor_id, name) for actor_id, _, name in found[:MOST_ACTORS]]

"""Alerts about limits: thresholds, first refusals, repaired counters. Each is told once a window.

What was told is in Postgres, under names that hold the window's start: a restart, a second worker or a repeated
check tells nothing twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, Min
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.accounts.models import Person
from portal.decision.models import Subject
from portal.lib import windows
from portal.lib.money import format_money
from portal.notifications.models import Kind, Message, Severity
from portal.notifications.recipients import Responsible, responsible
from portal.notifications.services import Draft, notify_all
from portal.organization.models import Organization
from portal.spend.models import LimitAlert, Refusal
from portal.spend.scopes import Scope
from portal.spend.settled import LimitKey
from portal.spend.standings import Standing
from portal.web import numbers

_WINDOW = {"day": "daily ", "week": "weekly ", "month": "monthly ", "minute": "per-minute ", "none": ""}
_METRIC = {
    "spend": "spend limit",
    "requests": "limit on requests",
    "tokens": "limit on model tokens",
    "concurrency": "limit on calls in flight",
}
# Refusals reach Postgres within seconds; a worker that was away this long still tells of them.
_LOOK_BACK = timedelta(hours=1)
_BATCH = 1000
_LOCK = 7345011


@dataclass(frozen=True, slots=True)
class Place:
    """Where a limit lies: its label, and the project and the groups whose people are told."""

    label: str
    project: int | None
    groups: tuple[int, ...]


def limit_words(limit: LimitKey) -> str:
    """Return how a sentence names a limit: ``monthly spend limit for gpt-5*``."""
    return f"{_WINDOW[limit.window]}{_METRIC[limit.metric]}" + (f" for {limit.model}" if limit.model else "")


def amount_words(metric: str, amount: int, currency: str) -> str:
    """Return an amount of a metric as people read it."""
    return format_money(amount, currency) if metric == "spend" else numbers.count(amount)


def places(counted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Place]:
    """Return where limits lie, by the scope they are set on and the scope that counts, in a fixed number of queries."""
    wanted = set(counted)
    credentials = {counter[2:] for _, counter in wanted if counter.startswith("c:")}
    subjects = _subjects([f"l:{set_on}" for set_on, _ in wanted] + [f"s:{key}" for key in credentials])
    project_of: dict[str, int | None] = {}
    for _, counter in wanted:
        holder = subjects.get(f"s:{counter[2:]}") if counter.startswith("c:") else None
        project_of[counter] = holder["project"] if holder else Scope(counter).project
    projects = _subjects([f"p:{pk}" for pk in set(project_of.values()) if pk])
    users = {int(counter.split(":")[-1]) for _, counter in wanted if counter.startswith(("u:", "pu:"))}
    names = dict(Person.objects.filter(pk__in=users).values_list("pk", "name"))
    found = {}
    for set_on, counter in wanted:
        label = str(subjects.get(f"l:{set_on}", {}).get("label", set_on))
        if set_on.endswith(":*"):
            label = f"{names.get(int(counter.split(':')[-1]), 'A user')} in {label}"
        project = project_of[counter]
        owning = projects.get(f"p:{project}", {}).get("group")
        groups = dict.fromkeys(pk for pk in (owning, Scope(counter).group) if pk)
        found[set_on, counter] = Place(label, project, tuple(groups))
    return found


def people_of(where: Mapping[tuple[str, str], Place], organization: Organization) -> Responsible:
    """Return who is told about those places."""
    return responsible(
        {place.project for place in where.values() if place.project},
        {group for place in where.values() for group in place.groups},
        organization,
    )


def tell_thresholds(found: Sequence[Standing], organization: Organization, actor: Actor) -> int:
    """Tell of the thresholds that were passed since the last check; return how many.

    Of several passed at once people hear of the highest. A limit of zero is meant to be full and tells nothing.
    """
    thresholds = organization.thresholds
    fresh = [each for each in found if each.amount and _highest(each, thresholds) > each.told]
    return sum(
        _tell_batch(fresh[start : start + _BATCH], organization, actor)
        for start in range(0, len(fresh), _BATCH)
    )


@transaction.atomic
def _tell_batch(given: Sequence[Standing], organization: Organization, actor: Actor) -> int:
    # One check at a time: what another one has told meanwhile is not told, counted or recorded again.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    told = _told({each.pk for each in given}, {each.start for each in given})
    fresh = [each for each in given if told.get((each.pk, each.scope_key, each.start), 0) == each.told]
    where = places((each.limit.scope_key, each.scope_key) for each in fresh)
    people = people_of(where, organization)
    alerts, drafts = [], []
    for each in fresh:
        place = where[each.limit.scope_key, each.scope_key]
        alerts += [
            LimitAlert(
                limit_id=each.pk,
                counter=each.scope_key,
                window_start=windows.to_datetime(each.start),
                threshold=threshold,
                used=min(each.used, 2**63 - 1),
            )
            for threshold in organization.thresholds
            if each.told < threshold <= each.percent
        ]
        drafts.append(_threshold(each, place, people, organization))
    LimitAlert.objects.bulk_create(alerts, ignore_conflicts=True)
    notify_all(drafts)
    for each in fresh:
        if each.told < 100 <= each.percent and 100 in organization.thresholds:
            place = where[each.limit.scope_key, each.scope_key]
            record(
                Action.LIMIT_REACHED,
                actor=actor,
                target=Target("limit", each.counter[2:], place.label),
                project=place.project,
                group=Scope(each.scope_key).group,
                changes={"used": (None, each.used), "limit": (None, each.amount)},
            )
    return len(alerts)


def _told(limits: set[int], starts: set[int]) -> dict[tuple[int, str, int], int]:
    """Return the highest threshold told, by limit, scope and start of the window."""
    rows = (
        LimitAlert.objects.filter(
            limit__in=limits, window_start__in=[windows.to_datetime(start) for start in starts]
        )
        .values_list("limit", "counter", "window_start")
        .annotate(threshold=Max("threshold"))
    )
    return {(pk, counter, int(start.timestamp())): threshold for pk, counter, start, threshold in rows}


def _highest(standing: Standing, thresholds: Sequence[int]) -> int:
    return max((threshold for threshold in thresholds if threshold <= standing.percent), default=0)


def _threshold(each: Standing, place: Place, people: Responsible, organization: Organization) -> Draft:
    threshold = _highest(each, organization.thresholds)
    limit, currency = each.limit, organization.currency
    used, amount = (amount_words(limit.metric, value, currency) for value in (each.used, each.amount))
    ends = window_end(limit.window, each.start, organization)
    is_full = each.percent >= 100
    title = f"{place.label}: {limit_words(limit)} reached"
    then = f"New calls are refused until {ends}, unless the limit is raised."
    if not is_full:
        title = f"{place.label}: {threshold}% of the {limit_words(limit)} used"
        then = f"At 100% new calls are refused; it starts anew at {ends}."
    return Draft(
        Kind.THRESHOLD,
        title,
        f"{used} of {amount} used. {then}",
        f"/alerts/limits/{each.pk}/",
        f"threshold:{each.pk}:{each.scope_key}:{each.start}:{threshold}",
        people.of(place.project, place.groups),
        Severity.BAD if is_full else Severity.WARN if each.percent >= 80 else Severity.INFO,
        place.project,
        Scope(each.scope_key).group or next(iter(place.groups), None),
    )


def window_end(kind: str, start: int, organization: Organization) -> str:
    """Return when the window that began at `start` ends, on the organization's clock."""
    ends = windows.window_at(kind, start, organization.zone).end
    moment = windows.to_datetime(ends)
    return f"{numbers.when(moment, organization.time_zone)} ({organization.time_zone})"


def tell_refusals(organization: Organization) -> int:
    """Tell of the first refusals by a limit in its window (a day for limits without one); return how many are new."""
    now = timezone.now()
    rows = (
        Refusal.objects.filter(occurred__gte=now - _LOOK_BACK, is_observed=False)
        .exclude(binding="")
        .values("binding", "project", "group")
        .annotate(first=Min("occurred"), last=Max("occurred"), rows=Count("pk"))
    )
    found = {(row["binding"], row["project"]): row for row in rows}
    keys = {key: _refused_once(key[0], row["first"], organization) for key, row in found.items()}
    told = set(Message.objects.filter(once__in=set(keys.values())).values_list("once", flat=True))
    fresh = {keys[key]: key for key in found if keys[key] not in told}
    if not fresh:
        return 0
    firsts = {
        key: Refusal.objects.filter(
            binding=key[0], project=key[1], occurred=found[key]["first"], is_observed=False
        )
        .order_by("decision_id")
        .first()
        for key in fresh.values()
    }
    counted = {key: _set_on(refusal) for key, refusal in firsts.items() if refusal is not None}
    where = places(counted.values())
    people = people_of(where, organization)
    drafts = []
    for once, key in fresh.items():
        refusal = firsts[key]
        if refusal is None:
            continue
        place, limit = where[counted[key]], _limit_of(refusal.binding)
        drafts.append(
            Draft(
                Kind.REFUSED,
                f"{place.label}: requests are refused by the {limit_words(limit)}",
                f"The first was refused {numbers.when(refusal.occurred, organization.time_zone)}"
                f" ({organization.time_zone}), to {refusal.model}. The page shows each limit and which one decides.",
                f"/refusals/{refusal.decision_id}/",
                once,
                people.of(refusal.project, (refusal.group, *place.groups)),
                Severity.WARN,
                refusal.project,
                refusal.group,
            )
        )
    return notify_all(drafts)


def _limit_of(binding: str) -> LimitKey:
    scope_key, metric, window, model = binding.split("|", 3)
    return LimitKey(scope_key, metric, window, model)


def _set_on(refusal: Refusal) -> tuple[str, str]:
    """Return the scope the binding limit is set on, and the one that counts."""
    limit = _limit_of(refusal.binding)
    for check in refusal.checks:
        named = (check["scope"], check["metric"], check["window"], check["model"][:120])
        if named == (limit.scope_key, limit.metric, limit.window, limit.model):
            return str(check["set_on"]), limit.scope_key
    return limit.scope_key, limit.scope_key


def _refused_once(binding: str, occurred: datetime, organization: Organization) -> str:
    window = _limit_of(binding).window
    kind = window if window in windows.CALENDAR else "day"
    start = windows.window_at(kind, occurred.timestamp(), organization.zone).start
    return f"refused:{binding}:{start}"


def tell_drift(repaired: Sequence[tuple[str, int, int]], organization: Organization) -> int:
    """Tell administrators of counters that were repaired (counter, was, is now): once a day."""
    if not repaired:
        return 0
    today = windows.local_day(timezone.now().timestamp(), organization.zone)
    lines = [f"{counter}: {was} instead of {now}" for counter, was, now in repaired[:5]]
    more = len(repaired) - len(lines)
    return notify_all(
        [
            Draft(
                Kind.DRIFT,
                f"{len(repaired)} counter{'s' if len(repaired) > 1 else ''} differed from the record",
                "The minute's check compared counters with what is booked, found a difference and repaired it. "
                "Further ones today are in the audit log alone.\n"
                + "\n".join(lines + ([f"and {more} more"] if more else [])),
                "/audit/?action=counter.repaired",
                f"drift:{today}",
                responsible(organization=organization).of(),
                Severity.WARN,
            )
        ]
    )


def _subjects(keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    return dict(Subject.objects.filter(pk__in=set(keys)).values_list("key", "data"))

"""Alerts about limits that the month will not last for, by the same forecast that the pages draw."""

from collections.abc import Sequence
from datetime import date, timedelta

from portal.decision.alerts import Place, amount_words, limit_words, people_of, places
from portal.lib import windows
from portal.notifications.models import Kind, Message, Severity
from portal.notifications.recipients import Responsible
from portal.notifications.services import Draft, notify_all
from portal.organization.models import Organization
from portal.organization.selectors import current
from portal.spend.forecast import HISTORY, Forecast, forecast
from portal.spend.selectors import Calendar, calendar, spend_by_day_of_each
from portal.spend.standings import Standing, standings

_BATCH = 500
_DAYS_OF_USE = 3  # fewer say nothing about a pace


def foresee_limits() -> int:
    """Tell, once a month, of each monthly spend limit that the forecast reaches before the month ends.

    Looked at are limits of one scope and every model of which three fifths of what a steady month had used by now
    are used: what has used less is forecast to last. Return how many are new.
    """
    organization = current()
    now = calendar(organization.zone)
    months = {window.kind: window for window in windows.windows_at(now.now.timestamp(), now.zone)}
    passed = ((now.today - now.first).days * 1000 + now.day_per_mille) // (now.after - now.first).days
    found = [
        each
        for each in standings(months, max(1, passed * 60 // 1000))
        if (each.limit.metric, each.limit.window, each.limit.model) == ("spend", "month", "")
        and each.limit.scope_key == each.scope_key
        and each.percent < 100
    ]
    told = set(
        Message.objects.filter(kind=Kind.FORECAST, once__in=map(_once, found)).values_list("once", flat=True)
    )
    fresh = [each for each in found if _once(each) not in told]
    return sum(
        _tell(fresh[start : start + _BATCH], now, organization) for start in range(0, len(fresh), _BATCH)
    )


def _tell(fresh: Sequence[Standing], now: Calendar, organization: Organization) -> int:
    since = min(now.first, now.today - timedelta(days=HISTORY))
    days = [since + timedelta(days=index) for index in range((now.today - since).days + 1)]
    spent = spend_by_day_of_each([each.scope_key for each in fresh], since, now.today + timedelta(days=1))
    reached: list[tuple[Standing, Forecast, date]] = []
    for each in fresh:
        by_day = spent.get(each.scope_key, {})
        expected = forecast([by_day.get(day, 0) for day in days], now.today, now.day_per_mille, now.days_left)
        day = expected.reaches(each.amount)
        if day is not None and len(by_day) >= _DAYS_OF_USE:
            reached.append((each, expected, day))
    where = places((each.limit.scope_key, each.scope_key) for each, _, _ in reached)
    people = people_of(where, organization)
    return notify_all(
        [
            _draft(each, expected, day, where[each.limit.scope_key, each.scope_key], people, organization)
            for each, expected, day in reached
        ]
    )


def _once(standing: Standing) -> str:
    return f"forecast:{standing.pk}:{standing.scope_key}:{standing.start}"


def _draft(
    each: Standing,
    expected: Forecast,
    day: date,
    place: Place,
    people: Responsible,
    organization: Organization,
) -> Draft:
    used, total, amount = (
        amount_words("spend", value, organization.currency)
        for value in (each.used, expected.total, each.amount)
    )
    return Draft(
        Kind.FORECAST,
        f"{place.label}: {limit_words(each.limit)} is expected to run out on {day.day} {day:%b}",
        f"{used} of {amount} used. If the month goes on like the last four weeks it comes to {total}, and "
        f"new calls are refused from about {day.day} {day:%b} on.",
        f"/alerts/limits/{each.pk}/",
        _once(each),
        people.of(place.project, place.groups),
        Severity.WARN,
        place.project,
        next(iter(place.groups), None),
    )

"""The parts of the monitoring page, each behind a boundary of its own: one that fails says so, the others work."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.models import QuerySet
from django.urls import reverse

from portal.lib.errors import Unavailable
from portal.monitoring import selectors
from portal.monitoring.access import Sight
from portal.monitoring.selectors import NearLimit, Subject
from portal.notifications.access import alerts_of
from portal.organization.models import Organization
from portal.organization.selectors import current as current_organization
from portal.spend import scopes
from portal.spend.forecast import HISTORY, Forecast, forecast
from portal.spend.selectors import (
    Calendar,
    Usage,
    calendar,
    spend_by_day,
    spend_limits,
    usage_by_model,
    usage_of,
)
from portal.web import numbers
from portal.web.charts import Chart, Minute, Outlook, month_chart, requests_chart
from projects import standing
from projects.models import Project, ProjectStanding
from projects.selectors import ProjectRow, project_rows
from projects.standing import Totals, totals

log = logging.getLogger(__name__)

TOP, NEAR, MODELS, ALERTS = 7, 6, 6, 5
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Part:
    """What a part shows, or why it shows nothing: ``failure`` is a sentence."""

    data: dict[str, Any]
    failure: str = ""


def part(name: str, work: Callable[[], dict[str, Any]]) -> Part:
    """Do the work of a part; what goes wrong stays in it."""
    try:
        return Part(work())
    except Unavailable as error:
        log.warning("monitoring, %s: %s", name, error)
        return Part({}, "Valkey cannot be reached.")
    except (DatabaseError, InterfaceError):
        log.exception("monitoring, %s", name)
        return Part({}, "The database did not answer in time.")
    except Exception:
        # A mistake of ours in one part takes away no other: this page is looked at when something is wrong.
        log.exception("monitoring, %s", name)
        return Part({}, "Something failed on our side.")


class Figures:
    """The figures of one look at the page; what several parts need is looked up once."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight

    def parts(self) -> dict[str, Part]:
        """Return every part by name."""
        standing.catch_up(most=100)
        works: dict[str, Callable[[], dict[str, Any]]] = {
            "tiles": self.tiles,
            "burn": self.burn,
            "near": self.near,
            "top": self.top,
            "models": self.models,
            "requests": self.requests,
            "alerts": self.alerts,
        }
        if self.sight.is_all:
            works["health"] = self.health
        return {name: part(name, work) for name, work in works.items()}

    @cached_property
    def organization(self) -> Organization:
        return current_organization()

    @cached_property
    def calendar(self) -> Calendar:
        return calendar(self.organization.zone)

    @cached_property
    def totals(self) -> dict[str, Totals]:
        return totals(None if self.sight.is_all else self.sight.standings)

    def rows(self, standings: QuerySet[ProjectStanding]) -> list[ProjectRow]:
        """Return the projects of the standings, in their order."""
        ids = list(standings.values_list("project_id", flat=True))
        found = {row.pk: row for row in project_rows(Project.objects.filter(pk__in=ids), self.calendar)}
        return [found[pk] for pk in ids if pk in found]

    @cached_property
    def limits(self) -> tuple[int | None, int | None]:
        """The organization's limits for day and month, for those who see all of it."""
        if not self.sight.is_all:
            return None, None
        return spend_limits([scopes.ORGANIZATION]).get(scopes.ORGANIZATION, (None, None))

    @cached_property
    def month(self) -> Forecast:
        now = self.calendar
        begin = min(now.first, now.today - HISTORY * _DAY)
        days = spend_by_day(self.sight.scope_keys, begin, now.today + _DAY)
        return forecast(days, now.today, now.day_per_mille, now.days_left)

    @cached_property
    def near_limits(self) -> tuple[list[NearLimit], int]:
        subjects = []
        if self.sight.is_all:
            name = self.organization.name
            subjects.append(Subject(scopes.ORGANIZATION, name, reverse("organization:limits")))
        subjects += [
            Subject(
                scopes.group(group.pk), f"Group {group.name}", reverse("groups:detail", args=[group.code])
            )
            for group in self.sight.groups
        ]
        in_use = self.sight.standings.filter(share__gte=800).exclude(project__state=Project.State.ARCHIVED)
        fullest = self.rows(in_use.order_by("-share", "-project_id")[:NEAR])
        subjects += [
            Subject(
                scopes.project(row.pk),
                row.name,
                reverse("projects:detail", args=[row.code]),
                is_paused=row.state == "paused",
            )
            for row in fullest
        ]
        found, number = selectors.near_limits(subjects, self.calendar, NEAR)
        in_sight = [self.totals[state] for state in (Project.State.ACTIVE, Project.State.PAUSED)]
        full = sum(each.near + each.blocked for each in in_sight)
        return found, number + max(0, full - len(fullest))

    def tiles(self) -> dict[str, Any]:
        """Spend today and this month, projects, user tokens and API keys."""
        day_limit, month_limit = self.limits
        active, every = self.totals[Project.State.ACTIVE], self.totals.values()
        return {
            "today": self.month.spent[-1],
            "month": self.month.month,
            "expected": self.month.total,
            "day_limit": day_limit,
            "month_limit": month_limit,
            "active": active.projects,
            "projects": active.projects + self.totals[Project.State.PAUSED].projects,
            "near": active.near,
            "blocked": active.blocked,
            "tokens": selectors.Credentials(
                sum(each.tokens for each in every),
                sum(each.tokens_used for each in every),
                sum(each.tokens_ending for each in every),
            ),
            "keys": selectors.Credentials(
                sum(each.keys for each in every),
                sum(each.keys_used for each in every),
                sum(each.keys_ending for each in every),
            ),
        }

    def burn(self) -> dict[str, Any]:
        """The month so far, its forecast and the limit; and whether the limit may be reached."""
        now, month, limit = self.calendar, self.month, self.limits[1]
        words = f"{now.today:%B} spend against limit" if limit else f"{now.today:%B} spend"
        chart = month_chart(
            "burn",
            words,
            first=now.first,
            spent=month.spent,
            today_part=now.day_per_mille / 1000,
            outlook=Outlook(month.expected, month.low, month.high),
            limit=limit,
            currency=self.organization.currency,
        )
        reaches = month.reaches(limit)
        may_reach = limit is not None and (month.high[-1] >= limit or month.month >= limit)
        return {
            "chart": chart,
            "limit": limit,
            "may_reach": may_reach,
            "reaches": reaches,
            "expected": month.total,
        }

    def near(self) -> dict[str, Any]:
        """Limits near or over."""
        rows, number = self.near_limits
        return {"rows": rows, "number": number}

    def top(self) -> dict[str, Any]:
        """The projects that spent the most this month."""
        spent = self.sight.standings.filter(month__gt=0).order_by("-month", "-project_id")[:TOP]
        rows = sorted(self.rows(spent), key=lambda row: (-row.month, row.code))
        return {"rows": rows, "whole": self.month.month, "most": rows[0].month if rows else 0}

    def models(self) -> dict[str, Any]:
        """The models used today."""
        now = self.calendar
        span = (now.today, now.today + _DAY)
        total = Usage()
        for usage in usage_of(self.sight.scope_keys, *span).values():
            total = total + usage
        return {"rows": usage_by_model(self.sight.scope_keys, *span, most=MODELS), "total": total}

    @cached_property
    def minutes(self) -> list[selectors.MinuteCount]:
        return selectors.last_hour(self.sight.project_ids, self.calendar.now)

    def requests(self) -> dict[str, Any]:
        """Requests of each minute of the last hour."""
        return {"chart": self._requests_chart()}

    def _requests_chart(self) -> Chart:
        zone = self.organization.time_zone
        minutes = [
            Minute(numbers.clock(minute.began, zone), minute.served, minute.refused, minute.failed)
            for minute in self.minutes
        ]
        return requests_chart("rpm", "Requests per minute, last 60 minutes", minutes)

    def alerts(self) -> dict[str, Any]:
        """What the person was told last, and how much of it they have not seen."""
        found = alerts_of(self.sight.person)
        return {"rows": list(found.order_by("-pk")[:ALERTS]), "unseen": found.filter(seen=None).count()}

    def health(self) -> dict[str, Any]:
        """How usage and decisions flow."""
        found = selectors.how_it_is()
        failed = sum(minute.failed for minute in self.minutes)
        reached = failed + sum(minute.served for minute in self.minutes)
        return {"health": found, "failed": failed, "reached": reached, "status": _status(found)}


def _status(found: selectors.Health) -> tuple[str, str]:
    """Return the word and the status of the badge."""
    if found.decider is None:
        return "Valkey is away", "bad"
    if not found.decider.epoch:
        return "Rebuilding", "warn"
    if found.unpublished or found.waiting > 10_000:
        return "Catching up", "warn"
    return "Healthy", "ok"

"""A month of calls that ends now, as the gateways would have reported them: the same ones for the same moment."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from apikeys.models import ApiKey
from portal.decision import configuration
from portal.demo.sample.plan import EMBED, HAIKU, MINI, MISTRAL, PROJECTS, ProjectPlan
from portal.lib.money import NANO
from portal.lib.uuid7 import uuid7
from portal.lib.windows import local_day, midnight
from portal.spend import inbox
from portal.spend.inbox import Entry
from portal.spend.pricing import MILLION, ModelPrice
from projects.models import Project
from tokens.models import UserToken

DAYS = 31
# Requests of each hour, in per mille of a day.
_HOURS = (6, 4, 3, 3, 4, 8, 18, 42, 74, 88, 92, 90, 72, 84, 90, 84, 70, 52, 38, 28, 20, 14, 10, 6)
_WEEKEND = (0.31, 0.27)
_BUSIEST = 0.94  # of a limit, where nothing else is planned
_REFERENCE = 17.3  # what 23.5 days of a month weigh
# What a call of a cheap model costs beside one of a dear model.
_SIZE = {MINI: 0.2, HAIKU: 0.4, MISTRAL: 0.4, EMBED: 0}
_FLOW = 11  # further small calls of each minute of the last hour


@dataclass(frozen=True, slots=True)
class Holder:
    """A credential and what a ledger row says of it."""

    key_id: str
    person: int | None
    draws_on: int | None


@dataclass(slots=True)
class Writer:
    """Makes the rows; ``chance`` decides everything that is not planned."""

    now: datetime
    zone: str
    chance: random.Random
    gateways: Sequence[str]
    prices: dict[str, ModelPrice]
    number: int = 0

    def day_of(self, moment: datetime) -> date:
        """Return the local day of the moment."""
        return local_day(moment.timestamp(), self.zone)

    def passed(self) -> float:
        """Return how much of a day's calls come before now."""
        hour = (self.now.timestamp() - midnight(self.day_of(self.now), self.zone)) / 3600
        whole = min(int(hour), 23)
        return (sum(_HOURS[:whole]) + _HOURS[whole] * min(hour - whole, 1)) / sum(_HOURS)

    def amounts(self, plan: ProjectPlan) -> dict[date, float]:
        """Return what the project spends on each of the last days, in currency units."""
        today = self.day_of(self.now)
        weights: dict[date, float] = {}
        for back in range(DAYS, -1, -1):
            day = today - timedelta(days=back)
            weight = _WEEKEND[day.weekday() - 5] if day.weekday() > 4 else 1.0
            weights[day] = weight * self.chance.uniform(0.78, 1.22) * (self.passed() if back == 0 else 1)
        month = {day: weight for day, weight in weights.items() if day.month == today.month}
        rate = plan.month / _REFERENCE
        spent = {day: rate * weight for day, weight in weights.items()}
        if not plan.is_exact:
            return self._below_limits(plan, spent, today)
        busy = {day: weight for day, weight in month.items() if (today - day).days >= plan.quiet} or month
        # A day that has only begun cannot have spent it all; on the first of a month the day's limit is what is used.
        share = min(plan.month * busy.get(today, 0) / sum(busy.values()), plan.day_limit * 0.62)
        if len(month) == 1 and plan.is_used_up:
            share = plan.day_limit * 1.01
        before = {day: weight for day, weight in busy.items() if day != today}
        rest = plan.month - share if before else 0
        for day in month:
            part = before.get(day, 0) / sum(before.values()) * rest if before else 0
            spent[day] = part if day != today else share if today in busy else 0
        return spent

    @staticmethod
    def _below_limits(plan: ProjectPlan, spent: dict[date, float], today: date) -> dict[date, float]:
        """Return the amounts, less where a month with many working days, or a busy day, would use a limit up."""
        spent = spent | {today: min(spent[today], plan.day_limit * _BUSIEST)}
        before = [day for day in spent if day.month == today.month and day != today]
        if plan.month_limit and (total := sum(spent[day] for day in before)):
            fits = min(1, (plan.month_limit * _BUSIEST - spent[today]) / total)
            spent |= {day: spent[day] * fits for day in before}
        return spent

    def calls(self, plan: ProjectPlan, project: Project, holders: Sequence[Holder]) -> Iterator[Entry]:
        """Yield the calls of a project that add up to its amounts."""
        shares = [self.chance.paretovariate(1.3) for _ in holders]
        for day, amount in self.amounts(plan).items():
            if amount <= 0:
                continue
            weekday = day.weekday()
            number = max(3, round(plan.calls * (_WEEKEND[weekday - 5] if weekday > 4 else 1)))
            models = self.chance.choices(*zip(*plan.models, strict=True), k=number)
            weights = [self.chance.lognormvariate(0, 0.7) * _SIZE.get(model, 1) for model in models]
            for model, weight in zip(models, weights, strict=True):
                holder = self.chance.choices(holders, shares)[0]
                cost = int(amount * weight / (sum(weights) or 1) * NANO)
                yield self.entry(project, holder, model, self.moment(day), cost)

    def flow(self, projects: Sequence[tuple[Project, Sequence[Holder]]]) -> Iterator[Entry]:
        """Yield the many small calls of the last hour, with a provider's trouble about half an hour ago."""
        for minute in range(60):
            wave = _FLOW + round(3 * math.sin(minute / 7) + 2 * math.sin(minute / 2.3))
            trouble = {33: 2, 34: 5, 35: 7, 36: 5, 37: 2}.get(minute, 0)
            for index in range(wave):
                moment = self.now - timedelta(minutes=minute, seconds=self.chance.uniform(1, 59))
                project, holders = self.chance.choice(projects)
                failed = index < trouble
                yield self.entry(
                    project, self.chance.choice(holders), MINI, moment, int(0.004 * NANO), is_failed=failed
                )

    def moment(self, day: date) -> datetime:
        """Return an instant of the day, by the hours people work, before now."""
        start = midnight(day, self.zone)
        while True:
            hour = self.chance.choices(range(24), _HOURS)[0]
            moment = start + hour * 3600 + self.chance.uniform(0, 3600)
            if moment < self.now.timestamp() - 1:
                return datetime.fromtimestamp(moment, UTC)
            if self.now.timestamp() - start < 3600:
                return datetime.fromtimestamp(
                    start + (self.now.timestamp() - start) * self.chance.random(), UTC
                )

    def entry(
        self,
        project: Project,
        holder: Holder,
        model: str,
        moment: datetime,
        cost: int,
        *,
        is_failed: bool = False,
    ) -> Entry:
        """Return one call of about the cost: the amount itself is what its tokens cost, exactly."""
        price = self.prices[model]
        cached, reply = (
            (0.0, 0.0) if model == EMBED else (self.chance.uniform(0, 0.6), self.chance.uniform(0.03, 0.12))
        )
        each = price.input * (1 - cached) + price.cached_input * cached + price.output * reply
        tokens = max(12, int(cost * MILLION / each))
        if model == EMBED:
            tokens = self.chance.randint(600, 8000)
        counts = {
            "input_tokens": tokens,
            "cached_input_tokens": int(tokens * cached),
            "output_tokens": 0 if is_failed else int(tokens * reply),
        }
        spend = price.cost(**counts)
        status = "failed" if is_failed else self.chance.choices(("ok", "failed", "cancelled"), (986, 8, 6))[0]
        self.number += 1
        return Entry(
            id=uuid7(),
            moment=moment,
            day=self.day_of(moment),
            kind="settle",
            refers_to=None,
            gateway=self.gateways[self.chance.random() < 0.6],
            request_id=f"sample-{self.number:06d}",
            credential=holder.key_id,
            project=project.pk,
            group_id=project.group_id,
            person=holder.person,
            draws_on=holder.draws_on,
            model=model,
            price_id=price.id,
            status=status,
            calls=1,
            cache_write_tokens=0,
            reasoning_tokens=counts["output_tokens"] // 3 if model.startswith("gpt-5") else 0,
            spend=spend,
            reserved=spend * 8 // 5,
            gateway_cost=None,
            is_late=False,
            is_restated=False,
            occurred=moment,
            arrived=min(moment + timedelta(seconds=self.chance.uniform(1, 20)), self.now),
            **counts,
        )


def holders_of(project: Project) -> list[Holder]:
    """Return the credentials of the project that can have been used."""
    tokens = UserToken.objects.filter(project=project).order_by("pk")
    keys = ApiKey.objects.filter(project=project).order_by("pk")
    return [Holder(key.key_id, None, None) for key in keys] + [
        Holder(token.key_id, token.person_id, token.group_id) for token in tokens
    ]


def write(
    made: dict[str, Project], gateways: Sequence[str], chance: random.Random, zone: str, now: datetime
) -> int:
    """Book the month through the inbox, batch by batch; return the number of calls.

    No limit may be set yet: a new limit begins with what is booked, so nothing has to be counted twice.
    """
    config = configuration.current()
    prices = {model: versions[-1] for model, versions in config.prices.items()}
    writer = Writer(now, zone, chance, gateways, prices)
    entries: list[Entry] = []
    flowing = []
    for plan in PROJECTS:
        project, holders = made[plan.code], holders_of(made[plan.code])
        entries += writer.calls(plan, project, holders)
        if not plan.quiet:
            flowing.append((project, holders))
    entries += writer.flow(flowing)
    entries.sort(key=lambda entry: entry.moment)
    for start in range(0, len(entries), 2000):
        inbox.move(inbox.add_settlements(entries[start : start + 2000]))
    _note_last_use(entries)
    return len(entries)


def _note_last_use(entries: Sequence[Entry]) -> None:
    from portal.gateway.models import Gateway

    last: dict[str, datetime] = {}
    for entry in entries:
        last[entry.credential] = last[entry.gateway] = entry.moment
    for model in (UserToken, ApiKey, Gateway):
        for row in model.objects.filter(key_id__in=last):
            used = {"last_used": last[row.key_id]}
            if model is ApiKey:
                used["secret_used"] = used["last_used"]
            model.objects.filter(pk=row.pk).update(**used)

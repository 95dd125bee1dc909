"""The limits one form sets: how they stand in the chain of levels, what a change would do, and saving it safely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from django.db import transaction

from audit.actors import Actor, Target
from portal.accounts.models import Person
from portal.decision import health
from portal.decision.envelopes import Beyond, beyond
from portal.decision.services import lock_limits, set_limit, shown_amount
from portal.lib.errors import RuleBroken, Unavailable
from portal.lib.money import format_money
from portal.organization.selectors import current
from portal.spend import selectors
from portal.spend.forecast import HISTORY, Forecast, forecast
from portal.spend.models import Limit
from portal.spend.scopes import Scope
from portal.spend.selectors import Calendar, TodayAndMonth


@dataclass(frozen=True, slots=True)
class Cell:
    """One limit of the form: for every model, of one metric and window."""

    name: str
    scope_key: str
    metric: str
    window: str
    label: str
    suffix: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A level in the chain, widest first: how people name the scope, and what stands below its name."""

    scope_key: str
    name: str
    detail: str = ""
    icon: str = "folder"


@dataclass(frozen=True, slots=True)
class LimitSheet:
    """The limits that one page sets. ``label`` is how a refusal names the scope; ``places`` the levels around it.

    With ``each_user_key`` (``pu:7:*``, ``u:*``) the form also sets the daily spend of each user. ``most_raise`` is by
    how many percent the person may raise a limit: 0 for those who only lower, None for any.
    """

    scope_key: str
    label: str
    places: Sequence[Place]
    each_user_key: str = ""
    project: int | None = None
    group: int | None = None
    target: Target | None = None
    most_raise: int | None = None

    @property
    def cells(self) -> list[Cell]:
        """The limits of the form, in its order."""
        key = self.scope_key
        cells = [
            Cell("daily", key, "spend", "day", "Daily limit", "per day"),
            Cell("monthly", key, "spend", "month", "Monthly limit", "per month"),
            Cell("requests", key, "requests", "minute", "Requests per minute", "per minute"),
            Cell("tokens", key, "tokens", "minute", "Model tokens per minute", "per minute"),
        ]
        if self.each_user_key:
            label = "Each user, unless set on the user"
            cells.insert(2, Cell("each_user", self.each_user_key, "spend", "day", label, "per day"))
        return cells


@dataclass(frozen=True, slots=True)
class Level:
    """How a place stands now, in nano-units; ``held`` is reserved for calls in flight, included in what is left."""

    place: Place
    today: int
    month: int
    day_limit: int | None
    month_limit: int | None
    held: int = 0
    requests: int | None = None
    tokens: int | None = None
    is_each: bool = False
    is_own: bool = False
    others: Sequence[Limit] = ()

    @property
    def is_wide(self) -> bool:
        """Whether others share it: the organization, or a group."""
        return self.place.scope_key.startswith(("o", "g:"))

    @property
    def month_left(self) -> int | None:
        """What is left this month; None without a limit."""
        return None if self.month_limit is None else max(0, self.month_limit - self.month - self.held)

    @property
    def left(self) -> int | None:
        """What can still be spent today: the least of what day and month leave; None without a limit."""
        day = None if self.day_limit is None else max(0, self.day_limit - self.today - self.held)
        return min((each for each in (day, self.month_left) if each is not None), default=None)


def read_amounts(cells: Sequence[Cell], *, lock: bool = False) -> dict[str, Limit]:
    """Return the limits behind the cells by the cell's name, as stored; one without a row is absent."""
    by_key = {(cell.scope_key, cell.metric, cell.window): cell.name for cell in cells}
    rows = Limit.objects.filter(scope_key__in={cell.scope_key for cell in cells}, model="").order_by("pk")
    if lock:
        rows = rows.select_for_update()
    found = {by_key.get((row.scope_key, row.metric, row.window)): row for row in rows}
    return {name: row for name, row in found.items() if name is not None}


def chain(places: Sequence[Place], calendar: Calendar) -> list[Level]:
    """Return how each place stands; one for each user shows the user who spent the most this month."""
    exact = [place.scope_key for place in places if not place.scope_key.endswith(":*")]
    used = selectors.today_and_month(exact, calendar)
    limits = selectors.limits_on([place.scope_key for place in places])
    held = held_for_calls(exact)
    levels = []
    for place in places:
        rows = limits.get(place.scope_key, [])
        amounts = {
            (row.metric, row.window): row.amount for row in rows if not row.model and row.mode == "enforce"
        }
        standing, is_each = used.get(place.scope_key), place.scope_key.endswith(":*")
        if is_each:
            if not rows:
                continue
            top = selectors.today_and_month_within(place.scope_key[:-1], calendar, most=1)
            for key, of_top in top.items():
                standing, person = of_top, Person.objects.filter(pk=int(key.rsplit(":", 1)[1])).first()
                detail = f"Highest: {person}" if person else place.detail
                place = Place(place.scope_key, place.name, detail, place.icon)
        standing = standing or TodayAndMonth()
        shown = {("spend", "day"), ("spend", "month"), ("requests", "minute"), ("tokens", "minute")}
        levels.append(
            Level(
                place,
                standing.today,
                standing.month,
                amounts.get(("spend", "day")),
                amounts.get(("spend", "month")),
                held.get(place.scope_key, 0),
                amounts.get(("requests", "minute")),
                amounts.get(("tokens", "minute")),
                is_each,
                others=[
                    r for r in rows if r.model or r.mode != "enforce" or (r.metric, r.window) not in shown
                ],
            )
        )
    return levels


def deciding(levels: Sequence[Level]) -> Level | None:
    """Return the level with the least left today; None when none has a limit. Users run out each for themselves."""
    return min(
        (level for level in levels if level.left is not None and not level.is_each),
        key=lambda level: level.left or 0,
        default=None,
    )


def held_for_calls(scope_keys: Sequence[str]) -> dict[str, int]:
    """Return what open reservations hold of the spend of each scope; nothing while Valkey is away."""
    names = [f"k:{key}|spend|{window}|" for key in scope_keys for window in ("day", "month")]
    try:
        counters = health.counters(names)
    except Unavailable:
        return {}
    held: dict[str, int] = {}
    for name, counter in zip(names, counters, strict=False):
        if counter:
            key = name[2:].split("|", 1)[0]
            held[key] = max(held.get(key, 0), counter[3] * 10**9 + counter[4])
    return held


@dataclass(frozen=True, slots=True)
class Preview:
    """What saving would do: the levels before and after, who decides, and how long the month lasts."""

    before: list[Level]
    after: list[Level]
    left_before: int | None
    left_after: int | None
    by_before: str
    by_after: str
    ends_before: date | None
    ends_after: date | None
    month_ends: date
    lasting: int | None = None
    blocks: bool = False
    is_changed: bool = False
    expected: int = 0
    forecast: Forecast | None = field(default=None, repr=False)


def preview(sheet: LimitSheet, wanted: Mapping[str, int | None], calendar: Calendar) -> Preview:
    """Return what saving the wanted amounts (by the name of the cell) would do to what can be spent."""
    places = [place for place in sheet.places if not place.scope_key.endswith(":*")]
    before = chain(places, calendar)
    after = [
        Level(
            level.place,
            level.today,
            level.month,
            wanted.get("daily"),
            wanted.get("monthly"),
            level.held,
            level.requests,
            level.tokens,
        )
        if level.place.scope_key == sheet.scope_key
        else level
        for level in before
    ]
    begin = min(calendar.first, calendar.today - timedelta(days=HISTORY))
    days = selectors.spend_by_day(sheet.scope_key, begin, calendar.today + timedelta(days=1))
    outlook = forecast(days, calendar.today, calendar.day_per_mille, calendar.days_left)
    own_before = next(level for level in before if level.place.scope_key == sheet.scope_key)
    own_after = next(level for level in after if level.place.scope_key == sheet.scope_key)
    ends_before, ends_after = outlook.reaches(own_before.month_limit), outlook.reaches(own_after.month_limit)
    first, last = deciding(before), deciding(after)
    is_changed = (own_before.day_limit, own_before.month_limit) != (
        own_after.day_limit,
        own_after.month_limit,
    )
    return Preview(
        before,
        after,
        first.left if first else None,
        last.left if last else None,
        first.place.name if first else "No limit",
        last.place.name if last else "No limit",
        ends_before,
        ends_after,
        calendar.after - timedelta(days=1),
        lasting=_round_up(outlook.high[-1]) if ends_after else None,
        blocks=is_changed and own_after.left == 0 and own_before.left != 0,
        is_changed=is_changed,
        expected=outlook.total,
        forecast=outlook,
    )


def beyond_of(sheet: LimitSheet, wanted: Mapping[str, int | None]) -> list[Beyond]:
    """Return where the limits of children would add up to more than their parent's; not to those who only lower."""
    if sheet.most_raise == 0:
        return []
    return beyond(sheet.scope_key, {"day": wanted.get("daily"), "month": wanted.get("monthly")})


def _round_up(amount: int) -> int:
    """Return an amount with two significant digits that is not less: what a person would enter."""
    step = int(10 ** max(len(str(amount)) - 2, 9))
    return -(-amount // step) * step


class LimitsChanged(RuleBroken):
    """Somebody else saved other limits meanwhile; ``found`` are the amounts as they are now, by the cell's name."""

    def __init__(self, sentences: Mapping[str, str], found: Mapping[str, int | None]) -> None:
        super().__init__(
            "The limits were changed while you had them open. Look at both values, then save again."
        )
        self.sentences = sentences
        self.found = found


@transaction.atomic(durable=True)
def save_limits(
    *,
    sheet: LimitSheet,
    wanted: Mapping[str, int | None],
    seen: Mapping[str, int | None],
    actor: Actor,
    reason: str = "",
) -> int:
    """Set the amounts (stored units, None = no limit) that differ from `seen`; return how many changed.

    Raises LimitsChanged when an amount is no longer what the person saw, and changes nothing then.
    """
    for key in sorted({cell.scope_key for cell in sheet.cells}):
        lock_limits(key)
    rows = read_amounts(sheet.cells, lock=True)
    now = {cell.name: rows[cell.name].amount if cell.name in rows else None for cell in sheet.cells}
    sentences = {
        cell.name: _both_values(cell, seen.get(cell.name), rows.get(cell.name))
        for cell in sheet.cells
        if now[cell.name] != seen.get(cell.name)
    }
    if sentences:
        raise LimitsChanged(sentences, now)
    changed = 0
    for cell in sheet.cells:
        amount = wanted.get(cell.name)
        if amount == now[cell.name]:
            continue
        changed += 1
        row = rows.get(cell.name)
        is_own = cell.scope_key == sheet.scope_key
        try:
            set_limit(
                scope_key=cell.scope_key,
                label=sheet.label if is_own else each_user_label(sheet.label),
                metric=cell.metric,
                window=cell.window,
                amount=None if amount is None else shown_amount(cell.metric, amount),
                mode=row.mode if row else "enforce",
                actor=actor,
                project=sheet.project or Scope(cell.scope_key).project,
                group=sheet.group or Scope(cell.scope_key).group,
                reason=reason,
                target=sheet.target,
                most_raise=sheet.most_raise,
            )
        except RuleBroken as broken:
            raise RuleBroken(broken.message, field=cell.name) from broken
    return changed


def each_user_label(label: str) -> str:
    """Return how a refusal names the limit of each user."""
    return f"Each user of {label[:1].lower()}{label[1:]}"


def _both_values(cell: Cell, seen: int | None, row: Limit | None) -> str:
    def words(amount: int | None) -> str:
        if amount is None:
            return "no limit"
        return format_money(amount, current().currency) if cell.metric == "spend" else f"{amount:,}"

    who = row.changed_by if row and row.changed_by else "somebody"
    now = words(row.amount if row else None)
    return f"It was {words(seen)} when you opened this page; {who} set it to {now} since."

"""One change of many projects: what it would do to each, and doing it, one transaction for each project.

A project that cannot be changed does not hold up the others; the result names it and says why. What was shown is
what is done: a project that somebody changed in between is left alone.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models, transaction

from audit.actors import Actor
from groups.models import Group
from portal.decision.raising import Held
from portal.decision.services import lock_limits, set_limit, shown_amount
from portal.lib.errors import ChangedMeanwhile, RuleBroken, Unavailable
from portal.lib.money import format_money
from portal.spend import scopes
from portal.spend.selectors import spend_limits
from projects.envelopes import Amounts, Outlook
from projects.models import Project
from projects.services import label_of, set_project_state, target_of, update_project

MOST = 500
"""So many projects at most are changed at once."""


class What(models.TextChoices):
    """A change that many projects can have at once; the label completes "… 12 projects"."""

    PAUSE = "pause", "Pause"
    RESUME = "resume", "Resume"
    MOVE = "move", "Move"
    LIMITS = "limits", "Set the limits of"


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of each project; an amount (nano-units) of None leaves that limit as it is."""

    what: What
    group: Group | None = None
    daily: int | None = None
    monthly: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it says all that has to be known."""
        if self.what == What.MOVE:
            return self.group is not None
        return self.what != What.LIMITS or self.daily is not None or self.monthly is not None


@dataclass(frozen=True, slots=True)
class Line:
    """A project of the selection: how it is and becomes, in words, or why it stays; ``seen`` is how it was read."""

    pk: int
    code: str
    name: str
    before: str
    after: str
    problem: str
    seen: Any


def plan(
    projects: Iterable[Project],
    change: Change,
    *,
    may: Collection[int],
    governs: Collection[int],
    most_raise: int | None,
    currency: str,
) -> tuple[list[Line], list[str]]:
    """Return what the change would do to each project, and where limits would add up to more than their parent's.

    ``may`` are those the person has the right to change, ``governs`` those whose limits they raise, by ``most_raise``
    percent at most: of these it is told what their siblings have.
    """
    found = list(projects)
    limits = spend_limits([scopes.project(project.pk) for project in found])
    is_about_limits = change.is_complete and change.what in (What.LIMITS, What.MOVE)
    outlook = Outlook.of({each.group for each in found} | {change.group}) if is_about_limits else None
    lines = []
    for project in found:
        held = limits.get(scopes.project(project.pk), (None, None))
        before, after, problem, seen = _described(project, change, held, currency)
        if project.pk not in may:
            after, problem = "", "You may not change this in the project"
        elif not problem and before == after and change.is_complete:
            after, problem = "", "It is so already"
        elif not problem and outlook and project.state != Project.State.ARCHIVED:
            problem = _held_up(project, change, held, outlook, project.pk in governs, most_raise, currency)
            after = "" if problem else after
        lines.append(Line(project.pk, project.code, project.name, before, after, problem, seen))
    return lines, outlook.warnings(currency) if outlook else []


def _held_up(
    project: Project,
    change: Change,
    held: Amounts,
    outlook: Outlook,
    governs: bool,
    most_raise: int | None,
    currency: str,
) -> str:
    """Return why the services would refuse the change after those before it, or an empty text."""
    group, wanted = (change.group, held) if change.what == What.MOVE else (project.group, _then(change, held))
    most = most_raise if governs else 0
    pairs = zip(held, wanted, strict=True)
    if most is not None and any(Held(now).is_raised_by(Held(then), most) for now, then in pairs):
        return (
            f"Raising it by more than {most}% needs a second person"
            if most
            else "To raise it, ask for a raise"
        )
    refused = outlook.put((project.group, held), (group, wanted), is_told=governs)
    return refused.in_words(currency, "would add up").rstrip(".") if refused else ""


def _then(change: Change, held: Amounts) -> Amounts:
    """Return the limits after the change: what it names, else what is held."""
    day, month = held
    return day if change.daily is None else change.daily, month if change.monthly is None else change.monthly


def _described(project: Project, change: Change, held: Amounts, currency: str) -> tuple[str, str, str, Any]:
    state = project.get_state_display()
    archived = "It is archived. Restore it first" if project.state == Project.State.ARCHIVED else ""
    if change.what == What.PAUSE:
        return state, "" if archived else "Paused", archived, project.state
    if change.what == What.RESUME:
        return state, "" if archived else "Active", archived, project.state
    if change.what == What.MOVE:
        now = project.group.name if project.group else "No group"
        return now, change.group.name if change.group else "", "", project.group_id
    after = "" if archived or not change.is_complete else _amounts(_then(change, held), currency)
    return _amounts(held, currency), after, archived, [None if each is None else str(each) for each in held]


def _amounts(amounts: Sequence[int | None], currency: str) -> str:
    words = [
        f"{format_money(amount, currency, 2 if amount % 10**9 else 0)} a {window}"
        for amount, window in zip(amounts, ("day", "month"), strict=True)
        if amount is not None
    ]
    return ", ".join(words) or "No limit of its own"


def carry_out(
    seen: Sequence[tuple[int, Any]],
    change: Change,
    *,
    may: Collection[int],
    governs: Collection[int],
    most_raise: int | None,
    actor: Actor,
    reason: str = "",
) -> tuple[int, list[tuple[Project, str]]]:
    """Change each project as it was shown; return how many were changed, and those that were not with the reason."""
    projects = Project.objects.select_related("group").in_bulk([pk for pk, _ in seen])
    failures, done = [], 0
    for pk, read in seen:
        if (project := projects.get(pk)) is None:
            continue
        try:
            if pk not in may:
                raise RuleBroken("You may not change this in the project.")
            _change_one(project, change, read, most_raise if pk in governs else 0, actor, reason)
            done += 1
        except ChangedMeanwhile:
            failures.append((project, "Somebody else changed it meanwhile. Look at it again."))
        except RuleBroken as broken:
            failures.append((project, broken.message))
        except Unavailable as error:
            failures.append((project, f"{error} Try again."))
    return done, failures


def _change_one(
    project: Project, change: Change, read: Any, most_raise: int | None, actor: Actor, reason: str
) -> None:
    if change.what in (What.PAUSE, What.RESUME):
        state = Project.State.PAUSED if change.what == What.PAUSE else Project.State.ACTIVE
        set_project_state(project=project, state=state, seen=read, actor=actor, reason=reason)
    elif change.what == What.MOVE:
        seen = {"group": "" if read is None else str(read)}
        update_project(project=project, group=change.group, seen=seen, actor=actor, reason=reason)
    else:
        wanted = {"day": change.daily, "month": change.monthly}
        before = None if read is None else tuple(None if each is None else int(each) for each in read)
        set_spend_limits(
            project=project, wanted=wanted, seen=before, most_raise=most_raise, actor=actor, reason=reason
        )


@transaction.atomic(durable=True)
def set_spend_limits(
    *,
    project: Project,
    wanted: dict[str, int | None],
    seen: tuple[int | None, ...] | None = None,
    most_raise: int | None = None,
    actor: Actor,
    reason: str = "",
) -> None:
    """Set spend limits (nano-units by window, None = as it is); ``seen`` are (day, month) as the person saw them."""
    key = scopes.project(project.pk)
    lock_limits(key)
    held = spend_limits([key]).get(key, (None, None))
    if seen is not None and held != seen:
        raise ChangedMeanwhile({"daily": held[0], "monthly": held[1]})
    for window, amount in wanted.items():
        if amount is not None:
            set_limit(
                scope_key=key,
                label=label_of(project),
                metric="spend",
                window=window,
                amount=shown_amount("spend", amount),
                actor=actor,
                project=project.pk,
                group=project.group_id,
                reason=reason,
                target=target_of(project),
                most_raise=most_raise,
            )

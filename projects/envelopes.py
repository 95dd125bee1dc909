"""What limits add up to: the projects of a group against the group, groups and the rest against the organization.

Only limits that hold count: on all models, enforced, of projects that are not archived and groups that are there.
One without a limit adds nothing, since its parent's holds it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import connection

from groups.models import Group
from portal.approvals.models import ApprovalPolicy
from portal.approvals.selectors import policy
from portal.decision.envelopes import WINDOWS, Beyond, refuse_beyond
from portal.decision.services import lock_limits
from portal.organization.selectors import current
from portal.spend import scopes
from portal.spend.scopes import Scope
from portal.spend.selectors import spend_limits
from projects.models import Project

_OF_GROUP = """
SELECT l."window", sum(l.amount) FROM spend_limit l
JOIN (SELECT 'p:' || id AS key FROM project WHERE group_id = %s AND state <> 'archived') c ON c.key = l.scope_key
WHERE l.metric = 'spend' AND l."window" IN ('day', 'month') AND l.model = '' AND l.mode = 'enforce' AND c.key <> %s
GROUP BY l."window"
"""
_OF_GROUPS = """
SELECT c.group_id, l."window", sum(l.amount) FROM spend_limit l
JOIN (SELECT 'p:' || id AS key, group_id FROM project WHERE group_id = ANY(%s) AND state <> 'archived') c
    ON c.key = l.scope_key
WHERE l.metric = 'spend' AND l."window" IN ('day', 'month') AND l.model = '' AND l.mode = 'enforce'
GROUP BY c.group_id, l."window"
"""
_OF_ORGANIZATION = """
SELECT l."window", sum(l.amount) FROM spend_limit l
JOIN (
    SELECT 'p:' || id AS key FROM project WHERE group_id IS NULL AND state <> 'archived'
    UNION ALL SELECT 'g:' || id FROM "group" WHERE deleted IS NULL
) c ON c.key = l.scope_key
WHERE l.metric = 'spend' AND l."window" IN ('day', 'month') AND l.model = '' AND l.mode = 'enforce' AND c.key <> %s
GROUP BY l."window"
"""


def as_child(scope_key: str, wanted: Mapping[str, int | None], *, is_refused: bool = False) -> list[Beyond]:
    """Return where the wanted amounts and those of its siblings come to more than the parent's.

    With `is_refused` only where the policy refuses it; then the parent is locked, so that two at once do not both fit.
    """
    parent = _parent_of(scope_key)
    return [] if parent is None else _beyond_in(parent, scope_key, wanted, is_refused=is_refused)


def as_parent(scope_key: str, wanted: Mapping[str, int | None]) -> list[Beyond]:
    """Return where the children's amounts come to more than those wanted for the place."""
    if Scope(scope_key).code not in ("organization", "group"):
        return []
    return _compared(scope_key, "", {}, wanted)


def refuse_beyond_in_place(project: Project) -> None:
    """Raise RuleBroken where the project's limits do not fit beside those of the group it has come (back) to."""
    held = spend_limits([scopes.project(project.pk)]).get(scopes.project(project.pk), (None, None))
    wanted = dict(zip(WINDOWS, held, strict=True))
    refuse_beyond(scopes.project(project.pk), wanted, field="group")


def warnings_about(projects: list[int]) -> list[str]:
    """Return, once for each group of these projects, where limits add up to more."""
    currency, found = current().currency, dict[str, None]()
    for group in (
        Project.objects.filter(pk__in=projects).order_by().values_list("group", flat=True).distinct()
    ):
        parent = scopes.group(group) if group else scopes.ORGANIZATION
        for each in _beyond_in(parent, "", {}):
            found[each.in_words(currency)] = None
    return list(found)


Amounts = tuple[int | None, int | None]
"""A day's limit and a month's, in nano-units; None where there is none."""


@dataclass
class Outlook:
    """What limits add up to while many projects are changed one after the other: told before it is done."""

    is_refused: bool
    names: dict[str, str]
    limits: Mapping[str, Amounts]
    totals: dict[tuple[str, str], int]
    touched: dict[str, None] = field(default_factory=dict)

    @classmethod
    def of(cls, groups: Iterable[Group | None]) -> "Outlook":
        """Read what the projects of each of the groups, and of none, have now: a fixed number of queries."""
        found = {_key(group): group for group in groups}
        totals: dict[tuple[str, str], int] = {}
        with connection.cursor() as cursor:
            cursor.execute(_OF_GROUPS, [[group.pk for group in found.values() if group]])
            for pk, window, total in cursor.fetchall():
                totals[scopes.group(pk), window] = int(total)
            if scopes.ORGANIZATION in found:
                cursor.execute(_OF_ORGANIZATION, [""])
                totals |= {(scopes.ORGANIZATION, window): int(total) for window, total in cursor.fetchall()}
        names = {key: group.name if group else "" for key, group in found.items()}
        is_refused = policy().overcommit == ApprovalPolicy.Overcommit.REFUSE
        return cls(is_refused, names, spend_limits(list(found)), totals)

    def put(
        self,
        before: tuple[Group | None, Amounts],
        after: tuple[Group | None, Amounts],
        *,
        is_told: bool,
    ) -> Beyond | None:
        """Change one project's group or limits; return what refuses it, and change nothing then.

        Where it is not refused, the parent is among those to warn of if `is_told`.
        """
        (old, held), (new, wanted) = before, after
        parent, is_moved = _key(new), _key(old) != _key(new)
        totals = dict(self.totals)
        for window, amount in zip(WINDOWS, held, strict=True):
            totals[_key(old), window] = totals.get((_key(old), window), 0) - (amount or 0)
        for window, amount in zip(WINDOWS, wanted, strict=True):
            totals[parent, window] = totals.get((parent, window), 0) + (amount or 0)
        grown = [
            window
            for window, was, amount in zip(WINDOWS, held, wanted, strict=True)
            if amount is not None and (is_moved or was is None or amount > was)
        ]
        refused = self._beyond(parent, totals, grown)
        if refused and self.is_refused:
            return refused[0]
        self.totals = totals
        if is_told:
            self.touched[parent] = None
        return None

    def warnings(self, currency: str) -> list[str]:
        """Return where limits come to more than their parent's after all that was put."""
        found = [each for parent in self.touched for each in self._beyond(parent, self.totals, WINDOWS)]
        return [each.in_words(currency, "would add up") for each in found]

    def _beyond(
        self, parent: str, totals: Mapping[tuple[str, str], int], windows: Sequence[str]
    ) -> list[Beyond]:
        limits = dict(zip(WINDOWS, self.limits.get(parent, (None, None)), strict=True))
        found = []
        for window in windows:
            limit, total = limits[window], totals.get((parent, window), 0)
            if limit is not None and total > limit:
                found.append(Beyond(*_named(self.names[parent]), window, total, limit))
        return found


def _key(group: Group | None) -> str:
    return scopes.group(group.pk) if group else scopes.ORGANIZATION


def _named(group: str) -> tuple[str, str]:
    """Return how children and parent are told: the projects of a group, or what the organization holds."""
    if group:
        return f"the projects of {group}", "the group"
    return "groups, and of projects without one,", "the organization"


def _parent_of(scope_key: str) -> str | None:
    scope = Scope(scope_key)
    if scope.code == "group":
        return scopes.ORGANIZATION
    if scope.code != "project" or scope.project is None:
        return None
    row = Project.objects.filter(pk=scope.project).exclude(state=Project.State.ARCHIVED).values_list("group")
    group = row.first()
    if group is None:
        return None
    return scopes.group(group[0]) if group[0] else scopes.ORGANIZATION


def _beyond_in(
    parent: str, child: str, wanted: Mapping[str, int | None], *, is_refused: bool = False
) -> list[Beyond]:
    if is_refused:
        if policy().overcommit != ApprovalPolicy.Overcommit.REFUSE:
            return []
        lock_limits(parent)
    held = spend_limits([parent]).get(parent, (None, None))
    limits = dict(zip(WINDOWS, held, strict=True))
    if child:
        limits = {window: limit for window, limit in limits.items() if wanted.get(window) is not None}
    return _compared(parent, child, wanted, limits)


def _compared(
    parent: str, child: str, wanted: Mapping[str, int | None], limits: Mapping[str, int | None]
) -> list[Beyond]:
    limits = {window: limit for window, limit in limits.items() if limit is not None and window in WINDOWS}
    if not limits:
        return []
    group = Scope(parent).group
    with connection.cursor() as cursor:
        cursor.execute(_OF_GROUP if group else _OF_ORGANIZATION, [*([group] if group else []), child])
        totals = {window: int(total) for window, total in cursor.fetchall()}
    children, of = _named(Group.objects.get(pk=group).name if group else "")
    found = []
    for window, limit in limits.items():
        total = totals.get(window, 0) + (wanted.get(window) or 0)
        if limit is not None and total > limit:
            found.append(Beyond(children, of, window, total, limit))
    return found

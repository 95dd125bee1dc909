"""What limits add up to: the projects of a group against the group, groups and the rest against the organization.

Only limits that hold count: on all models, enforced, of projects that are not archived and groups that are there.
One without a limit adds nothing, since its parent's holds it.
"""

from collections.abc import Mapping

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
    children, of = "groups, and of projects without one,", "the organization"
    if group:
        children, of = f"the projects of {Group.objects.get(pk=group).name}", "the group"
    found = []
    for window, limit in limits.items():
        total = totals.get(window, 0) + (wanted.get(window) or 0)
        if limit is not None and total > limit:
            found.append(Beyond(children, of, window, total, limit))
    return found

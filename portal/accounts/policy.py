"""Who may do what: the one table of roles and rights, read by the code, the documentation and the tests."""

from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from portal.accounts.models import Person


class Role(models.TextChoices):
    """What a person is. The first four are granted; the last two come with membership of a project."""

    ADMIN = "admin", "Administrator"
    AUDITOR = "auditor", "Auditor"
    OPERATOR = "operator", "Operator"
    GROUP_ADMIN = "group_admin", "Group administrator"
    OWNER = "owner", "Project owner"
    MEMBER = "member", "Project member"


GRANTED_ROLES: tuple[Role, ...] = (Role.ADMIN, Role.AUDITOR, Role.OPERATOR, Role.GROUP_ADMIN)
HOUSE_ROLES: frozenset[Role] = frozenset({Role.ADMIN, Role.AUDITOR, Role.OPERATOR})
"""The roles over the whole portal."""

APP_ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "Portal.Admin": Role.ADMIN,
        "Portal.Auditor": Role.AUDITOR,
        "Portal.Operator": Role.OPERATOR,
        "Portal.GroupAdmin": Role.GROUP_ADMIN,
    }
)
"""App roles of the Entra ID application (``roles`` in the token) and what they mean here."""


class Right(StrEnum):
    """Something that may be done. The value is the code used in documentation and refusals."""

    SEE_MONITORING = "see_monitoring"
    SEE_PROJECTS = "see_projects"
    SEE_GROUPS = "see_groups"
    SEE_REFUSALS = "see_refusals"
    SEE_CALLS = "see_calls"
    SEE_REPORTS = "see_reports"
    SEE_AUDIT = "see_audit"
    SEE_PEOPLE = "see_people"
    SEE_SETTINGS = "see_settings"
    CORRECT_USAGE = "correct_usage"
    CREATE_PROJECT = "create_project"
    EDIT_PROJECT = "edit_project"
    SET_LIMITS = "set_limits"
    SEE_ALL_LIMITS = "see_all_limits"
    LOWER_LIMITS = "lower_limits"
    ASK_RAISE = "ask_raise"
    APPROVE_RAISES = "approve_raises"
    SEE_REQUESTS = "see_requests"
    MANAGE_MEMBERS = "manage_members"
    ISSUE_TOKEN = "issue_token"  # noqa: S105  a right, not a password
    REVOKE_TOKEN = "revoke_token"  # noqa: S105
    MANAGE_API_KEYS = "manage_api_keys"
    MANAGE_GROUPS = "manage_groups"
    MANAGE_GATEWAYS = "manage_gateways"
    MANAGE_PRICES = "manage_prices"
    RUN_JOBS = "run_jobs"
    EXPORT_AUDIT = "export_audit"
    MANAGE_ACCESS = "manage_access"
    MANAGE_ORGANIZATION = "manage_organization"


class Reach(IntEnum):
    """How far a right goes. A wider reach includes the narrower ones."""

    NONE = 0
    OWN = 1  # what is the person's own: own tokens, own refusals
    PROJECT = 2  # everything in the projects the person belongs to
    GROUP = 3  # everything in the groups the person administers
    ALL = 4  # everywhere


_A, _G, _P, _O = Reach.ALL, Reach.GROUP, Reach.PROJECT, Reach.OWN
_ADMIN, _AUDIT, _OPER = Role.ADMIN, Role.AUDITOR, Role.OPERATOR
_GROUP, _OWNER, _MEMBER = Role.GROUP_ADMIN, Role.OWNER, Role.MEMBER

POLICY: Mapping[Right, Mapping[Role, Reach]] = MappingProxyType(
    {
        Right.SEE_MONITORING: {_ADMIN: _A, _AUDIT: _A, _OPER: _A, _GROUP: _G, _OWNER: _P, _MEMBER: _P},
        Right.SEE_PROJECTS: {_ADMIN: _A, _AUDIT: _A, _OPER: _A, _GROUP: _G, _OWNER: _P, _MEMBER: _P},
        Right.SEE_GROUPS: {_ADMIN: _A, _AUDIT: _A, _OPER: _A, _GROUP: _G},
        Right.SEE_REFUSALS: {_ADMIN: _A, _AUDIT: _A, _OPER: _A, _GROUP: _G, _OWNER: _P, _MEMBER: _O},
        Right.SEE_CALLS: {_ADMIN: _A, _AUDIT: _A, _OPER: _A, _GROUP: _G, _OWNER: _P, _MEMBER: _O},
        Right.SEE_REPORTS: {_ADMIN: _A, _AUDIT: _A, _OPER: _A, _GROUP: _G, _OWNER: _P},
        Right.SEE_AUDIT: {_ADMIN: _A, _AUDIT: _A, _OPER: _A, _GROUP: _G, _OWNER: _P, _MEMBER: _O},
        Right.SEE_PEOPLE: {_ADMIN: _A, _AUDIT: _A},
        Right.SEE_SETTINGS: {_ADMIN: _A, _AUDIT: _A, _OPER: _A},
        Right.CORRECT_USAGE: {_ADMIN: _A},
        Right.CREATE_PROJECT: {_ADMIN: _A, _GROUP: _G},
        Right.EDIT_PROJECT: {_ADMIN: _A, _GROUP: _G, _OWNER: _P},
        Right.SET_LIMITS: {_ADMIN: _A, _GROUP: _G},
        Right.SEE_ALL_LIMITS: {_ADMIN: _A, _AUDIT: _A, _OPER: _A},
        Right.LOWER_LIMITS: {_ADMIN: _A, _GROUP: _G, _OWNER: _P},
        Right.ASK_RAISE: {_ADMIN: _A, _GROUP: _G, _OWNER: _P},
        Right.APPROVE_RAISES: {_ADMIN: _A, _GROUP: _G},
        Right.SEE_REQUESTS: {_ADMIN: _A, _AUDIT: _A, _OPER: _A, _GROUP: _G, _OWNER: _P},
        Right.MANAGE_MEMBERS: {_ADMIN: _A, _GROUP: _G, _OWNER: _P},
        Right.ISSUE_TOKEN: {_ADMIN: _A, _GROUP: _G, _OWNER: _P, _MEMBER: _O},
        Right.REVOKE_TOKEN: {_ADMIN: _A, _GROUP: _G, _OWNER: _P, _MEMBER: _O},
        Right.MANAGE_API_KEYS: {_ADMIN: _A, _GROUP: _G, _OWNER: _P},
        Right.MANAGE_GROUPS: {_ADMIN: _A},
        Right.MANAGE_GATEWAYS: {_ADMIN: _A, _OPER: _A},
        Right.MANAGE_PRICES: {_ADMIN: _A, _OPER: _A},
        Right.RUN_JOBS: {_ADMIN: _A, _OPER: _A},
        Right.EXPORT_AUDIT: {_ADMIN: _A, _AUDIT: _A},
        Right.MANAGE_ACCESS: {_ADMIN: _A},
        Right.MANAGE_ORGANIZATION: {_ADMIN: _A},
    }
)
"""Right × role → how far. A cell that is not there is a no."""

TOXIC: frozenset[frozenset[Role]] = frozenset(
    {
        frozenset({_AUDIT, _ADMIN}),
        frozenset({_AUDIT, _OPER}),
        frozenset({_AUDIT, _GROUP}),
        frozenset({_AUDIT, _OWNER}),
        frozenset({_OPER, _GROUP}),
    }
)
"""Roles that one person may not have together: who audits changes nothing, who sets prices approves no raise.

An administrator has every right of an operator anyway: for prices, a second person is the guard.
"""

READING = frozenset(right for right in Right if right.value.startswith("see_")) | {Right.EXPORT_AUDIT}
"""The rights that change nothing."""


STEP_UP: Mapping[str, str] = MappingProxyType(
    {
        "tokens:issue": "credentials",
        "tokens:import": "credentials",
        "tokens:import_create": "credentials",
        "apikeys:issue": "credentials",
        "apikeys:rotate": "credentials",
        "gateway:register": "credentials",
        "gateway:rotate": "credentials",
        "notifications:add_webhook": "settings",
        "notifications:rotate_webhook": "settings",
        "notifications:remove_webhook": "settings",
        "approvals:approve": "approvals",
        "accounts:grant": "access",
        "accounts:revoke": "access",
        "accounts:allow_guest": "access",
        "accounts:view_as": "access",
        "groups:add_admin": "access",
        "directory:hand_over": "access",
        "roles:policy": "access",
        "roles:confirm": "access",
        "spend:new_price": "prices",
        "spend:import": "prices",
        "calls:correct": "corrections",
        "calls:void": "corrections",
        "audit:export_csv": "export",
        "audit:export_ndjson": "export",
        "accounts:people_export": "export",
        "roles:export": "export",
        "approvals:export": "export",
        "projects:export": "export",
        "projects:export_members": "export",
        "projects:export_activity": "export",
        "groups:export": "export",
        "groups:export_members": "export",
        "tokens:export": "export",
        "apikeys:export": "export",
        "limits:export": "export",
        "monitoring:export": "export",
        "monitoring:export_month": "export",
    }
)
"""Address → the class of actions (portal.accounts.step_up.Guarded) for which Microsoft is asked again who it is.

To revoke, suspend, pause or lower is never held up.
"""


def reach(right: Right, roles: Iterable[str]) -> Reach:
    """Return how far `right` goes for somebody with all of `roles`: the widest of them."""
    row = POLICY[right]
    return max((row.get(Role(role), Reach.NONE) for role in roles), default=Reach.NONE)


def toxic_with(role: str, roles: Iterable[str]) -> Role | None:
    """Return one of `roles` that does not go with `role`, if there is one."""
    return next((Role(each) for each in roles if frozenset({Role(role), Role(each)}) in TOXIC), None)


def without_toxic(roles: Iterable[str], held: Iterable[str] = ()) -> frozenset[Role]:
    """Return those of `roles` that go together and with `held`: of two that do not, the one that changes less."""
    kept: list[Role] = []
    for role in sorted({Role(each) for each in roles}, key=_LEAST_FIRST.index):
        if toxic_with(role, [*kept, *held]) is None:
            kept.append(role)
    return frozenset(kept)


_LEAST_FIRST = (_AUDIT, _OPER, _GROUP, _ADMIN, _MEMBER, _OWNER)


def may(right: Right, roles: Iterable[str]) -> bool:
    """Tell whether any of `roles` has `right` at all, however narrow."""
    return reach(right, roles) is not Reach.NONE


def matrix() -> list[tuple[Right, dict[Role, Reach]]]:
    """Return the whole table with every cell filled, in the order of the enums."""
    return [(right, {role: POLICY[right].get(role, Reach.NONE) for role in Role}) for right in Right]


def roles_of(person: "Person") -> frozenset[Role]:
    """Return every role the person has anywhere: grants, memberships, and membership through a group.

    They are read now, or once at the beginning of a request for the person who makes it.
    """
    if not person.is_active:
        return frozenset()
    if person.roles_of_request is not None:
        return person.roles_of_request
    roles = {Role(grant.role) for grant in person.role_grants.all() if grant.is_current}
    roles |= {Role(membership.role) for membership in person.memberships.all()}
    if not roles & {Role.OWNER, Role.MEMBER}:
        admitted = person.group_memberships.filter(group__deleted=None, group__project_access__isnull=False)
        if admitted.exists():
            roles.add(Role.MEMBER)
    return frozenset(roles)


def rights_of(person: "Person") -> dict[Right, Reach]:
    """Return the rights the person has anywhere, and how far each goes."""
    roles = roles_of(person)
    return {right: how_far for right in Right if (how_far := reach(right, roles)) is not Reach.NONE}


def has_access(person: "Person") -> bool:
    """Tell whether the person may use the portal at all: with no role there is no session."""
    return bool(roles_of(person))

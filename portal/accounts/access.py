"""The gate of every view: which right a page needs, and how far a person's rights go."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase

from audit import services as audit
from audit.actions import Action
from audit.actors import Target
from portal.accounts.actors import actor_of
from portal.accounts.models import Person, RoleGrant
from portal.accounts.policy import (
    GRANTED_ROLES,
    HOUSE_ROLES,
    Reach,
    Right,
    Role,
    may,
    reach,
    rights_of,
    roles_of,
)

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]

__all__ = [
    "can",
    "groups_administered",
    "may_toward",
    "people_who_may",
    "person_of",
    "refuse_unless",
    "require",
    "rights_of",
    "roles_toward",
]


def person_of(request: HttpRequest) -> Person:
    """Return who is signed in. Behind SignInRequiredMiddleware there always is somebody."""
    if not isinstance(request.user, Person):
        raise PermissionDenied("Sign in first.")
    return request.user


def require(right: Right, *, everywhere: bool = False) -> Callable[[View[P]], View[P]]:
    """Let only people with `right` into a view; somebody else gets 403, and a refused change is audited.

    The right may be a narrow one: a view about an object still fetches it through its app's own gate.
    `everywhere` asks for the right over everything, for what belongs to nobody in particular.
    """

    def decorator(view: View[P]) -> View[P]:
        @wraps(view)
        def gated(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            refuse_unless(can(person_of(request), right, everywhere=everywhere), request, right)
            return view(request, *args, **kwargs)

        gated.required_right = right  # type: ignore[attr-defined]  # read by the test of all addresses
        return cast(View[P], gated)

    return decorator


def refuse_unless(allowed: bool, request: HttpRequest, right: Right, target: Target | None = None) -> None:
    """Raise PermissionDenied unless `allowed`; the attempt to change something is written to the audit log."""
    if allowed:
        return
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        audit.record_refused(
            Action.ACCESS_REFUSED,
            actor=actor_of(request),
            target=target or Target("page", request.path[:200], request.path[:300]),
            reason=f"needs {right}",
        )
    raise PermissionDenied(f"This needs the right {right}.")


def can(person: Person, right: Right, *, everywhere: bool = False) -> bool:
    """Tell whether the person has `right` anywhere, or over everything."""
    found = reach(right, roles_of(person))
    return found is Reach.ALL if everywhere else found is not Reach.NONE


def roles_toward(
    person: Person, *, group: int | None = None, project_role: str | None = None
) -> frozenset[Role]:
    """Return the person's roles toward one object: a group (its id), or a project in that group.

    `project_role` is the person's place in the project, if any. Somebody who administers other groups, or
    belongs to other projects, has no such role here.
    """
    roles: set[Role] = set(roles_of(person) & HOUSE_ROLES)
    if group is not None and group in groups_administered(person):
        roles.add(Role.GROUP_ADMIN)
    if project_role and person.is_active:
        roles.add(Role(project_role))
    return frozenset(roles)


def may_toward(
    person: Person,
    right: Right,
    *,
    group: int | None = None,
    project_role: str | None = None,
    own: bool = False,
) -> bool:
    """Tell whether the person has `right` toward one object; `own` says that it is the person's own."""
    roles = roles_toward(person, group=group, project_role=project_role)
    return may(right, roles) if own else reach(right, roles) > Reach.OWN


def groups_administered(person: Person) -> frozenset[int]:
    """Return the ids of the groups the person administers: those granted, or all they belong to."""
    grants = [
        grant for grant in person.role_grants.all() if grant.role == Role.GROUP_ADMIN and grant.is_current
    ]
    groups = {grant.group_id for grant in grants if grant.group_id is not None}
    if any(grant.group_id is None for grant in grants):
        groups |= set(person.group_memberships.filter(group__deleted=None).values_list("group_id", flat=True))
    return frozenset(groups)


def people_who_may(right: Right, *, group: int | None = None) -> QuerySet[Person]:
    """Return who has `right` by a granted role, over everything or in the group (its id): who can be asked."""
    everywhere = [role for role in GRANTED_ROLES if reach(right, [role]) is Reach.ALL]
    grants = Q(role__in=everywhere)
    if group is not None and reach(right, [Role.GROUP_ADMIN]):
        in_group = Q(group=group) | Q(group=None, person__group_memberships__group=group)
        grants |= Q(role=Role.GROUP_ADMIN) & in_group
    holders = RoleGrant.objects.current().filter(grants).values("person")
    return Person.objects.active().with_identity().filter(pk__in=holders)

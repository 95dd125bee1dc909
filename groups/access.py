"""The gate of everything about groups."""

from django.http import Http404, HttpRequest

from groups.models import Group, GroupQuerySet
from groups.services import target_of
from portal.accounts.access import can, groups_administered, person_of, refuse_unless
from portal.accounts.models import Person
from portal.accounts.policy import Reach, Right, Role, reach, roles_of
from portal.approvals.models import ApprovalPolicy
from portal.approvals.selectors import policy

_EVERYWHERE = frozenset({Role.ADMIN, Role.AUDITOR, Role.OPERATOR})


def get_group(request: HttpRequest, code: str, *, need: Right = Right.SEE_GROUPS) -> Group:
    """Return the group: 404 to an outsider, 403 to somebody who lacks the right there."""
    person = person_of(request)
    group = Group.objects.current().filter(code=code).first()
    if group is None or not (roles := roles_in(person, group)):
        raise Http404
    refuse_unless(reach(need, roles) > Reach.OWN, request, need, target_of(group))
    return group


def roles_in(person: Person, group: Group) -> frozenset[Role]:
    """Return what the person is toward one group; nothing for an outsider."""
    roles = roles_of(person) & _EVERYWHERE
    return roles | {Role.GROUP_ADMIN} if group.pk in groups_administered(person) else roles


def rights_in(person: Person, group: Group) -> dict[str, bool]:
    """Return the rights the person has over the group, for templates."""
    roles = roles_in(person, group)
    return {str(right): reach(right, roles) > Reach.OWN for right in Right}


def most_raise(person: Person, known: ApprovalPolicy | None = None) -> int | None:
    """Return by how many percent the person may raise a group's own limits: None for any, 0 for who only lowers.

    Who administers a group works inside its limits, as owners do inside their project's: more is asked for.
    """
    return (known or policy()).most_raise if can(person, Right.SET_LIMITS, everywhere=True) else 0


def groups_with(person: Person, right: Right = Right.SEE_GROUPS) -> GroupQuerySet:
    """Return the groups in which the person has the right: what lists show and what a form accepts."""
    groups = Group.objects.current()
    if reach(right, roles_of(person) & _EVERYWHERE) > Reach.OWN:
        return groups
    if reach(right, [Role.GROUP_ADMIN]) > Reach.OWN:
        return groups.filter(pk__in=groups_administered(person))
    return groups.none()

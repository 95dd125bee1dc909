"""The gate of everything about projects: nobody reaches one except through here."""

from collections.abc import Mapping

from django.db.models import Q
from django.http import Http404, HttpRequest

from portal.accounts.access import groups_administered, person_of, refuse_unless
from portal.accounts.models import Person
from portal.accounts.policy import Reach, Right, Role, reach, roles_of
from portal.approvals.models import ApprovalPolicy
from portal.approvals.selectors import policy
from projects.bulk import What
from projects.models import GroupAccess, Membership, Project, ProjectQuerySet
from projects.services import target_of

BULK_RIGHTS: Mapping[What, Right] = {
    What.PAUSE: Right.EDIT_PROJECT,
    What.RESUME: Right.EDIT_PROJECT,
    What.MOVE: Right.SET_LIMITS,
    What.LIMITS: Right.LOWER_LIMITS,
}
"""The right over a project that each change of many needs; raising a limit is refused by the service besides."""

_EVERYWHERE = (Role.ADMIN, Role.AUDITOR, Role.OPERATOR)


def get_project(
    request: HttpRequest, code: str, *, need: Right = Right.SEE_PROJECTS, own: bool = False
) -> Project:
    """Return the project: 404 to an outsider, 403 to somebody who lacks the right there.

    With `own` it is enough to have the right over one's own things (a member may issue a token to themselves).
    """
    person = person_of(request)
    project = Project.objects.select_related("group").filter(code=code).first()
    roles = roles_in(person, project) if project else frozenset()
    if project is None or not roles:
        raise Http404
    found = reach(need, roles)
    refuse_unless(found > (Reach.NONE if own else Reach.OWN), request, need, target_of(project))
    return project


def roles_in(person: Person, project: Project) -> frozenset[Role]:
    """Return what the person is toward one project; nothing for an outsider."""
    roles = {role for role in roles_of(person) if role in _EVERYWHERE}
    if not person.is_active:
        return frozenset()
    if project.group_id in groups_administered(person):
        roles.add(Role.GROUP_ADMIN)
    for membership in person.memberships.all():
        if membership.project_id == project.pk:
            roles.add(Role(membership.role))
    if not roles:
        through_group = GroupAccess.objects.filter(project=project, group__members__person=person)
        if through_group.exists():
            roles.add(Role.MEMBER)
    return frozenset(roles)


def rights_in(person: Person, project: Project) -> Mapping[str, bool]:
    """Return the rights the person has over the whole project, for templates: ``{% if can.set_limits %}``."""
    roles = roles_in(person, project)
    can = {str(right): reach(right, roles) > Reach.OWN for right in Right}
    issues_own = project.members_issue_tokens and reach(Right.ISSUE_TOKEN, roles) > Reach.NONE
    return can | {"issue_own_token": can["issue_token"] or issues_own}


def most_raise(person: Person, project: Project, known: ApprovalPolicy | None = None) -> int | None:
    """Return by how many percent the person may raise the project's limits: 0 for who only lowers, None for any.

    ``known`` is the policy, where it is at hand: lists read it once.
    """
    return (known or policy()).most_raise if rights_in(person, project)[Right.SET_LIMITS] else 0


def projects_with(person: Person, right: Right = Right.SEE_PROJECTS, *, own: bool = False) -> ProjectQuerySet:
    """Return the projects in which the person has the right: what lists show and what a form accepts."""
    least = Reach.NONE if own else Reach.OWN
    if reach(right, roles_of(person) & set(_EVERYWHERE)) > least:
        return Project.objects.all()
    condition = Q(pk__in=[])
    if reach(right, [Role.GROUP_ADMIN]) > least:
        condition |= Q(group__in=groups_administered(person))
    if reach(right, [Role.OWNER]) > least:
        owned = Membership.objects.filter(person=person, role=Membership.Role.OWNER)
        condition |= Q(pk__in=owned.values("project"))
    if reach(right, [Role.MEMBER]) > least:
        condition |= Q(pk__in=Membership.objects.filter(person=person).values("project"))
        condition |= Q(pk__in=GroupAccess.objects.filter(group__members__person=person).values("project"))
    return Project.objects.filter(condition)


def bulk_changes_of(person: Person) -> list[What]:
    """Return the changes of many projects that the person may make in some project."""
    return [what for what, right in BULK_RIGHTS.items() if reach(right, roles_of(person)) > Reach.OWN]

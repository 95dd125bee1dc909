"""The gate of requests: who sees one, and who decides it."""

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest

from portal.accounts.access import can, groups_administered, person_of
from portal.accounts.models import Person
from portal.accounts.policy import Reach, Right, Role, reach
from portal.approvals.kinds import RIGHTS
from portal.approvals.models import Request
from projects.models import Membership


def requests_visible_to(person: Person) -> QuerySet[Request]:
    """Return the requests a person may read: all, those about one's groups and own projects, and one's own."""
    requests = Request.objects.select_related(
        "project__group", "group", "requester", "beneficiary", "decided_by"
    )
    if can(person, Right.SEE_REQUESTS, everywhere=True):
        return requests
    owned = Membership.objects.filter(person=person, role=Role.OWNER).values("project")
    groups = groups_administered(person)
    mine = Q(requester=person) | Q(project__in=owned) | Q(project__group__in=groups) | Q(group__in=groups)
    return requests.filter(mine)


def get_request(request: HttpRequest, pk: int) -> Request:
    """Return the request; 404 to whoever may not see it."""
    found = requests_visible_to(person_of(request)).filter(pk=pk).first()
    if found is None:
        raise Http404
    return found


def waiting_on(person: Person) -> QuerySet[Request]:
    """Return the waiting requests that the person may decide: never one's own, nor one that one gains by."""
    mine = Q(pk__in=[])
    for kind, right in RIGHTS.items():
        if can(person, right, everywhere=True):
            mine |= Q(kind=kind)
        elif reach(right, [Role.GROUP_ADMIN]) and (groups := groups_administered(person)):
            mine |= Q(kind=kind, project__group__in=groups)
    waiting = Request.objects.filter(mine, state=Request.State.WAITING)
    return waiting.exclude(requester=person).exclude(beneficiary=person)


def waited_for(person: Person) -> QuerySet[Request]:
    """Return the waiting requests that the roles of the person decide, also of somebody who is disabled now."""
    roles = {grant.role for grant in person.role_grants.all() if grant.is_current}
    mine = Q(pk__in=[])
    for kind, right in RIGHTS.items():
        if reach(right, roles) is Reach.ALL:
            mine |= Q(kind=kind)
        elif reach(right, roles & {Role.GROUP_ADMIN}):
            mine |= Q(kind=kind, project__group__in=groups_administered(person))
    waiting = Request.objects.filter(mine, state=Request.State.WAITING).select_related("project")
    return waiting.exclude(requester=person).exclude(beneficiary=person)


def nav_counts(person: Person) -> dict[str, int]:
    """Return what waits for the person, by the name of the page it waits on."""
    decides = {right for right in RIGHTS.values() if can(person, right)}
    return {"approvals:list": waiting_on(person).count()} if decides else {}

"""Questions about requests and the policy."""

from django.db.models import Q, QuerySet

from portal.approvals.models import ApprovalPolicy, Request


def policy() -> ApprovalPolicy:
    """Return what needs a second person."""
    return ApprovalPolicy.objects.filter(pk=1).first() or ApprovalPolicy(pk=1)


def matching(
    requests: QuerySet[Request], *, text: str = "", kind: str = "", state: str = ""
) -> QuerySet[Request]:
    """Return the requests that fit every filter given."""
    if text:
        requests = requests.filter(Q(label__icontains=text) | Q(requester__name__icontains=text))
    if kind:
        requests = requests.filter(kind=kind)
    if state:
        requests = requests.filter(state=state)
    return requests


def waiting_about(project: int) -> list[Request]:
    """Return the requests about a project (its id) that wait for a decision."""
    waiting = Request.objects.filter(project=project, state=Request.State.WAITING)
    return list(waiting.select_related("requester").order_by("created", "pk"))

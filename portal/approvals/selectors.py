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


def waiting_raises(*, project: int | None = None, group: int | None = None) -> list[Request]:
    """Return the raises that wait for a decision: of a project, of a group itself, or those of neither."""
    waiting = Request.objects.filter(
        kind=Request.Kind.LIMIT, project=project, group=group, state=Request.State.WAITING
    )
    return list(waiting.select_related("requester").order_by("created", "pk"))

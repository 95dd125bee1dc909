"""Questions about the synchronization, and about what somebody leaves."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from apikeys.models import ApiKey
from portal.accounts.models import Person
from portal.accounts.policy import Role
from portal.approvals.access import waited_for
from portal.approvals.models import Request
from portal.approvals.services import deciders_of
from portal.directory.certificates import certificates
from portal.directory.models import DirectoryState, SyncRun
from projects.models import Membership, Project
from tokens.models import UserToken

FEW = 2
"""With so many others who decide, a request may lie; with more, somebody will see it."""
LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What a person leaves."""

    projects: list[Project]  # which nobody else who is here owns
    keys: list[ApiKey]
    requests: list[Request]  # theirs, which wait for a decision
    decisions: list[tuple[Request, int]]  # which waited for theirs, and how many others decide
    tokens: int  # suspended with them

    @property
    def needs_somebody(self) -> bool:
        """Whether somebody has to take over."""
        return bool(self.projects or self.keys)


def left_behind(person: Person) -> LeftBehind:
    """Return the projects, keys and requests of a person that need somebody else."""
    keys = ApiKey.objects.filter(owner=person, revoked__isnull=True).select_related("project", "deputy")
    requests = Request.objects.filter(requester=person, state=Request.State.WAITING)
    return LeftBehind(
        list(solely_owned(person)),
        list(keys.order_by("name", "pk")),
        list(requests.order_by("pk")),
        waiting_for_few(person),
        UserToken.objects.filter(person=person, revoked__isnull=True, suspended__isnull=False).count(),
    )


def waiting_for_few(person: Person) -> list[tuple[Request, int]]:
    """Return the oldest requests that waited for the person with hardly anybody else to decide, and how many others."""
    waiting = waited_for(person).order_by("expires", "pk")[:LOOKED_AT]
    others = [(request, deciders_of(request).exclude(pk=person.pk).count()) for request in waiting]
    return [(request, number) for request, number in others if number <= FEW]


def solely_owned(person: Person) -> QuerySet[Project]:
    """Return the projects, archived ones left out, that no other active person owns."""
    others = Membership.objects.filter(role=Membership.Role.OWNER, person__is_active=True).exclude(
        person=person
    )
    return (
        Project.objects.filter(memberships__person=person, memberships__role=Membership.Role.OWNER)
        .exclude(state=Project.State.ARCHIVED)
        .exclude(pk__in=others.values("project"))
        .order_by("name", "pk")
    )


def administrators() -> list[Person]:
    """Return the active administrators."""
    return list(Person.objects.active().filter(role_grants__role=Role.ADMIN).distinct().order_by("pk"))


def last_run() -> SyncRun | None:
    """Return the newest run, which may still go on."""
    return SyncRun.objects.order_by("-id").first()


def last_success() -> SyncRun | None:
    """Return the newest run that ended well."""
    return SyncRun.objects.filter(outcome=SyncRun.Outcome.DONE).order_by("-id").first()


def is_wanted() -> bool:
    """Tell whether somebody waits for a run."""
    return DirectoryState.objects.filter(wanted__isnull=False).exists()


def sync_context() -> dict[str, Any]:
    """Return what a page shows of the synchronization."""
    run = last_run()
    return {
        "sync": run,
        "sync_success": last_success(),
        "sync_goes_on": is_wanted() or (run is not None and not run.outcome),
        "ending_certificates": [each for each in certificates() if each.is_ending],
    }

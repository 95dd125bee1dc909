"""May the person whom a verified token names come in? Everything is decided before a session exists."""

from dataclasses import dataclass, replace
from uuid import UUID

from django.http import HttpRequest

from audit.actors import Actor
from groups.models import Group
from groups.services import note_groups_of
from portal.accounts import graph, services
from portal.accounts.actors import visitor
from portal.accounts.conf import microsoft
from portal.accounts.entra.id_token import Claims
from portal.accounts.graph import DirectoryUnavailable
from portal.accounts.models import Person
from portal.accounts.policy import has_access
from portal.accounts.selectors import person_by_identity


@dataclass
class Refused(Exception):
    """The sign-in ends here: `template` says why to the person, `reason` to the audit log."""

    reason: str
    template: str
    status: int
    actor: Actor
    email: str = ""


def admit(request: HttpRequest, claims: Claims) -> Person:
    """Return the person, with roles and groups as Entra ID has them now; raise Refused when there is no way in."""
    display = f"{claims.name} <{claims.email}>" if claims.email else claims.name
    actor = visitor(request, display=display, tid=str(claims.tid), oid=str(claims.oid))

    def refused(reason: str, template: str, status: int = 403) -> Refused:
        return Refused(reason, f"accounts/{template}.html", status, actor, claims.email)

    known = person_by_identity(claims.tid, claims.oid)
    if claims.is_guest:
        if not microsoft.allow_guests:
            raise refused("The account is a guest of the organization.", "guest")
        # A guest who is let in gets what projects give; a role needs an account of the house, or an exception.
        if not (known and known.guest_exception):
            claims = replace(claims, roles=frozenset())
    if known and not known.is_active:
        raise refused("The account is disabled in the portal.", "disabled")
    try:
        groups = _groups(claims, known)
    except DirectoryUnavailable as error:
        raise refused("The groups could not be looked up.", "unavailable", 503) from error
    if known is None and not claims.roles and not _are_admitted(groups):
        raise refused("The account has no role.", "no_access")
    person = services.person_for_claims(claims=claims, actor=actor)
    note_groups_of(person=person, entra_ids=groups, actor=actor)
    if not has_access(person):
        services.end_sessions_without_role(person=person, actor=actor)
        raise refused("The account has no role.", "no_access")
    return person


def _groups(claims: Claims, known: Person | None) -> frozenset[UUID]:
    """Return the person's groups. Where the token holds too many, the directory has to answer.

    It is asked too where the token says nothing of groups although the person is in some here: that may mean none
    any more, or a registration without the claim. The address in the token is not called (Microsoft's names a retired
    host); it is made from the object id.
    """
    if claims.groups is not None and not claims.names_groups and known is not None:
        is_in_some = known.group_memberships.filter(group__entra_id__isnull=False).exists()
        return graph.groups_of(claims.oid) if is_in_some else claims.groups
    return graph.groups_of(claims.oid) if claims.groups is None else claims.groups


def _are_admitted(groups: frozenset[UUID]) -> bool:
    """Tell whether one of the groups has access to a project."""
    return Group.objects.current().filter(entra_id__in=groups, project_access__isnull=False).exists()

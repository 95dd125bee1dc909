"""What one person may do and from where, what they hold, and where they are signed in."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils import timezone

from apikeys.models import ApiKey
from groups.models import GroupMember
from portal.accounts.conf import idle_seconds
from portal.accounts.models import Person, RoleGrant, Session
from portal.accounts.policy import APP_ROLES
from projects.models import GroupAccess, Membership
from tokens.models import UserToken

_BROWSERS = {
    "Edg/": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
_SYSTEMS = {
    "Windows": "Windows",
    "Android": "Android",
    "iPhone": "iPhone",
    "Mac OS": "macOS",
    "Linux": "Linux",
}
MOST = 50  # of each that a page shows


@dataclass(frozen=True, slots=True)
class Source:
    """One right of a person and where it comes from."""

    role: str
    scope: str
    href_name: str  # what `scope` is: project, group or nothing
    code: str
    source: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One browser in which a person is signed in."""

    mark: str
    started: datetime | None
    seen: datetime | None
    address: str
    browser: str
    is_current: bool


def sources_of(person: Person) -> list[Source]:
    """Return every right of the person with its source: granted roles, then places in projects."""
    names = {role: code for code, role in APP_ROLES.items()}
    found = []
    for grant in person.role_grants.select_related("group").order_by("role", "pk"):
        if grant.source == RoleGrant.Source.ENTRA:
            source = f"App role {names.get(grant.role, grant.role)} in Entra ID"  # type: ignore[call-overload]
        else:
            source = f"Granted here by {grant.granted_by or 'somebody'}"
        scope, code = (grant.group.name, grant.group.code) if grant.group else ("", "")
        found.append(
            Source(grant.get_role_display(), scope, "group" if code else "", code, source, grant.granted)
        )
    places = Membership.objects.filter(person=person).select_related("project")
    for place in places.order_by("project__name", "pk")[:MOST]:
        role = "Owner" if place.role == Membership.Role.OWNER else "Member"
        project = place.project
        found.append(Source(role, project.name, "project", project.code, "Added to the project", place.added))
    through = GroupAccess.objects.filter(group__members__person=person, group__deleted=None)
    for access in through.select_related("project", "group").order_by("project__name", "pk")[:MOST]:
        project = access.project
        source = f"Through the group {access.group.name}"
        found.append(Source("Member", project.name, "project", project.code, source, access.added))
    return found


def groups_of(person: Person) -> list[GroupMember]:
    """Return the registered groups the directory lists the person in."""
    members = GroupMember.objects.filter(person=person, group__deleted=None).select_related("group")
    return list(members.order_by("group__name"))


def tokens_of(person: Person) -> list[UserToken]:
    """Return the person's tokens that are not over, the newest first."""
    held = UserToken.objects.current().filter(person=person).select_related("project")
    return list(held.order_by("-created")[:MOST])


def keys_of(person: Person) -> list[ApiKey]:
    """Return the API keys in the person's name that are not over."""
    held = ApiKey.objects.current().filter(owner=person).select_related("project")
    return list(held.order_by("name", "pk")[:MOST])


def sessions_of(person: Person, *, current: str = "") -> list[SessionRow]:
    """Return the sessions that go on, the last used first; `current` is the mark of the one that asks."""
    now = timezone.now()
    rows = Session.objects.filter(
        person=person, expire_date__gt=now, seen__gt=int(now.timestamp()) - idle_seconds()
    )
    return [
        SessionRow(
            row.mark,
            _moment(row.started),
            _moment(row.seen),
            row.address or "",
            _browser(row.browser),
            row.mark == current,
        )
        for row in rows.order_by("-seen", "mark")[:MOST]
    ]


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _browser(agent: str) -> str:
    """Return a browser's name and system in words; what is not known is shown as it is."""
    name = next((name for part, name in _BROWSERS.items() if part in agent), "")
    system = next((name for part, name in _SYSTEMS.items() if part in agent), "")
    return " on ".join(filter(None, [name, system])) or agent[:60] or "Unknown browser"

"""What the pages of a group share: their head and tabs, the look-up of members, and the sheet of limits."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse

from groups.access import most_raise, rights_in
from groups.lookup import look_up
from groups.models import Group
from groups.selectors import number_of_members
from groups.services import label_of, target_of
from portal.accounts.access import person_of
from portal.accounts.actors import actor_of
from portal.accounts.models import Person
from portal.decision.limits import LimitSheet, Place
from portal.lib.errors import Unavailable
from portal.organization.models import Organization
from portal.organization.selectors import current as current_organization
from portal.spend import scopes
from portal.spend.selectors import Calendar, calendar

TABS = (("detail", "Projects and limits"), ("members", "Members"), ("settings", "Settings"))


def clock() -> Calendar:
    """Return the organization's calendar now."""
    return calendar(current_organization().zone)


def page_context(request: HttpRequest, group: Group, tab: str) -> dict[str, Any]:
    """Return what the head of a group's page needs."""
    number = number_of_members(group)
    tabs = [
        {
            "label": label,
            "href": reverse(f"groups:{name}", args=[group.code]),
            "count": number if name == "members" else None,
            "is_current": name == tab,
        }
        for name, label in TABS
    ]
    return {"group": group, "can": rights_in(person_of(request), group), "tabs": tabs, "number": number}


def try_look_up(group: Group, request: HttpRequest) -> bool:
    """Read the members; the directory being away is said, and the job tries again."""
    try:
        look_up(group, actor=actor_of(request))
    except Unavailable as error:
        messages.warning(request, f"The members could not be read: {error}")
        return False
    return True


def sheet_of(group: Group, organization: Organization, person: Person) -> LimitSheet:
    """Return the limits that the person sets on a group's page, and the levels around them."""
    places = [
        Place(scopes.ORGANIZATION, "Organization", organization.name, "building-2"),
        Place(scopes.group(group.pk), "This group", group.name, "users"),
    ]
    return LimitSheet(
        scope_key=scopes.group(group.pk),
        label=label_of(group),
        places=places,
        group=group.pk,
        target=target_of(group),
        most_raise=most_raise(person),
    )

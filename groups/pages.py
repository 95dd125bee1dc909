"""What the pages of a group share: its sheet of limits."""

from groups.models import Group
from groups.services import label_of, target_of
from portal.decision.limits import LimitSheet, Place
from portal.organization.models import Organization
from portal.spend import scopes


def sheet_of(group: Group, organization: Organization) -> LimitSheet:
    """Return the limits that a group's page sets, and the levels around them."""
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
    )

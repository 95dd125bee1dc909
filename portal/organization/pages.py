"""What the pages under Settings share: their tabs."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from portal.accounts.access import can, person_of
from portal.accounts.policy import Right

_TABS = (
    ("organization", "Organization", "organization:settings", Right.SEE_SETTINGS),
    ("limits", "Limits", "organization:limits", Right.SEE_SETTINGS),
    ("notifications", "Notifications", "notifications:settings", Right.SEE_SETTINGS),
    ("people", "People", "accounts:people", Right.SEE_PEOPLE),
    ("roles", "Roles", "roles:table", Right.SEE_SETTINGS),
    ("gateways", "Gateways", "gateway:list", Right.SEE_SETTINGS),
    ("prices", "Price book", "spend:prices", Right.SEE_SETTINGS),
)


def tabs(request: HttpRequest, current: str) -> list[dict[str, Any]]:
    """Return the tabs that the person may open; `current` is the key of the one that is shown."""
    person = person_of(request)
    return [
        {"label": label, "href": reverse(url), "count": None, "is_current": key == current}
        for key, label, url, right in _TABS
        if can(person, right)
    ]

"""What every page needs to draw the frame: the organization, the person, where they may go and how it looks.

This package knows neither people nor the organization. The settings name the questions::

    SHELL = {"organization": "…selectors.current", "rights": "…policy.rights_of", "counts": ("…access.nav_counts",)}
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from portal.lib.money import currency_sign
from portal.web.views import PREFERENCES


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the navigation: ``url`` is a URL name, ``right`` what opening it needs, ``key`` its shortcut.

    ``own`` are a right, and the label for those for whom it reaches no further than their own things.
    """

    url: str
    label: str
    icon: str
    key: str
    right: str
    own: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Item:
    """A place as this page shows it."""

    place: Place
    href: str
    is_current: bool
    count: int = 0


PLACES: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (
        "",
        (
            Place("monitoring:index", "Monitoring", "activity", "m", "see_monitoring"),
            Place("notifications:alerts", "Alerts", "bell", "n", "see_monitoring"),
        ),
    ),
    (
        "Who spends",
        (
            Place("projects:list", "Projects", "folder", "p", "see_projects"),
            Place("groups:list", "Groups", "building-2", "o", "see_groups"),
            Place("accounts:people", "People", "users", "u", "see_people"),
        ),
    ),
    (
        "Access",
        (
            Place(
                "tokens:list",
                "User tokens",
                "key-round",
                "t",
                "see_projects",
                own=("revoke_token", "My tokens"),
            ),
            Place("apikeys:list", "API keys", "key-square", "k", "see_projects"),
        ),
    ),
    (
        "Control",
        (
            Place("limits:list", "Limits", "gauge", "l", "see_all_limits"),
            Place("gateway:refusals", "Refused requests", "shield-x", "r", "see_refusals"),
            Place("approvals:list", "Requests", "circle-check", "q", "see_requests"),
            Place("audit:list", "Audit log", "scroll-text", "a", "see_audit"),
            Place("organization:settings", "Settings", "settings", "s", "see_settings"),
        ),
    ),
)

# Pages that belong to an entry without sharing its namespace's first page.
_UNDER = {
    "gateway:refusal": "gateway:refusals",
    "gateway:explain": "gateway:refusals",
    **dict.fromkeys(["accounts:account", "accounts:confirm", "accounts:resume"], ""),
    **dict.fromkeys(["calls:find", "calls:correct", "calls:void"], "gateway:refusals"),
    **dict.fromkeys(
        [
            *(f"roles:{name}" for name in ("table", "policy", "review", "start", "confirm")),
            *(f"gateway:{name}" for name in ("list", "register", "rotate", "suspend", "resume", "revoke")),
            *(f"notifications:{name}" for name in ("settings", "deliveries", "delivery")),
            *(f"notifications:{name}_webhook" for name in ("add", "change", "test", "rotate", "remove")),
            "notifications:add_recipient",
            "notifications:remove_recipient",
            *(f"spend:{name}" for name in ("prices", "history", "new_price", "import")),
        ],
        "organization:settings",
    ),
}


class Shell:
    """The frame of one page. Everything is looked up when a template first asks for it."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def organization(self) -> Any:
        """The organization: ``name``, ``currency`` and ``time_zone``."""
        return import_string(settings.SHELL["organization"])()  # type: ignore[misc]

    @property
    def currency(self) -> str:
        """The ISO code of the currency of all amounts."""
        return str(self.organization.currency)

    @property
    def sign(self) -> str:
        """What stands before an amount: ``$``, ``CHF``."""
        return currency_sign(self.currency)

    @property
    def time_zone(self) -> str:
        """The IANA name of the zone in which days end and moments are shown."""
        return str(self.organization.time_zone)

    @cached_property
    def person(self) -> Any:
        """The person who is signed in, or None."""
        user = getattr(self._request, "user", None)
        return user if user is not None and user.is_authenticated else None

    @cached_property
    def can(self) -> dict[str, bool]:
        """Right → True, for each right the person has anywhere: ``{% if shell.can.create_project %}``."""
        return dict.fromkeys(self._reach, True)

    @cached_property
    def _reach(self) -> dict[str, int]:
        """Right → how far it goes; 1 is no further than one's own things."""
        if self.person is None:
            return {}
        rights: Mapping[str, int] = import_string(settings.SHELL["rights"])(self.person)  # type: ignore[misc]
        return {str(right): int(reach) for right, reach in rights.items()}

    @cached_property
    def nav(self) -> list[tuple[str, list[Item]]]:
        """The sections of the navigation with the places the person may open, empty sections left out."""
        sections = [
            (title, [self._item(place) for place in places if place.right in self.can])
            for title, places in PLACES
        ]
        return [(title, items) for title, items in sections if items]

    @cached_property
    def counts(self) -> dict[str, int]:
        """What waits for the person, by the name of the page it waits on."""
        counts: dict[str, int] = {}
        for name in settings.SHELL["counts"]:  # type: ignore[misc]
            counts |= import_string(name)(self.person)
        return counts

    @property
    def home(self) -> str:
        """Where the brand leads."""
        return self.nav[0][1][0].href if self.nav else "/"

    @cached_property
    def theme(self) -> str:
        """``light`` or ``dark`` when chosen, else empty: the system decides."""
        return self._preference("theme")

    @cached_property
    def keys(self) -> str:
        """``off`` when single-key shortcuts are turned off."""
        return self._preference("keys")

    def _preference(self, name: str) -> str:
        value = self._request.COOKIES.get(name, "")
        return value if value in PREFERENCES[name] else ""

    def _item(self, place: Place) -> Item:
        match = self._request.resolver_match
        view = match.view_name if match else ""
        is_current = view in _UNDER and _UNDER[view] == place.url
        if view not in _UNDER:
            is_current = view.partition(":")[0] == place.url.partition(":")[0]
        right, label = place.own
        if self._reach.get(right) == 1:
            place = replace(place, label=label)
        return Item(place, reverse(place.url), is_current, self.counts.get(place.url, 0))


def shell(request: HttpRequest) -> dict[str, Any]:
    """Return the frame, and the nonce of the page's scripts."""
    return {"shell": Shell(request), "csp_nonce": getattr(request, "csp_nonce", "")}

"""Questions about API keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from apikeys.models import ApiKey
from portal.accounts.selectors import people_meant
from portal.credentials.selectors import unused_since, with_status, with_text
from portal.organization.selectors import current as current_organization
from portal.spend import scopes, selectors
from portal.spend.selectors import NOTHING, Calendar
from projects.selectors import projects_meant

OLD_DAYS = 90
STATES = [("rotating", "Rotating"), ("old", f"Secret older than {OLD_DAYS} days")]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key with the age of its secret in days, and its spend and limits in nano-units."""

    key: ApiKey
    age: int
    today: int
    month: int
    day_limit: int | None
    month_limit: int | None

    @property
    def is_old(self) -> bool:
        """Whether its secret should be changed."""
        return self.age >= OLD_DAYS


def matching(
    keys: QuerySet[ApiKey], *, text: str = "", project: str = "", person: str = "", status: str = ""
) -> QuerySet[ApiKey]:
    """Return the keys that fit every filter given, with project, owner and deputy."""
    now = timezone.now()
    if text:
        keys = with_text(keys, text, Q(project__in=projects_meant(text)))
    if project:
        keys = keys.filter(project__in=projects_meant(project))
    if person:
        people = people_meant(person)
        keys = keys.filter(Q(owner__in=people) | Q(deputy__in=people))
    if status == "rotating":
        keys = keys.filter(previous_until__gt=now, revoked__isnull=True)
    elif status == "old":
        limit = now - timedelta(days=OLD_DAYS)
        keys = with_status(keys, "active").filter(
            Q(rotated__lt=limit) | Q(rotated__isnull=True), created__lt=limit
        )
    elif status == "unused":
        keys = unused_since(keys, now - timedelta(days=current_organization().unused_flag_days))
    else:
        keys = with_status(keys, status)
    return keys.select_related("project", "owner", "deputy")


def key_rows(keys: Sequence[ApiKey], calendar: Calendar) -> list[KeyRow]:
    """Return the keys with spend and limits, in two queries."""
    names = [scopes.credential(key.key_id) for key in keys]
    used, limits = selectors.today_and_month(names, calendar), selectors.spend_limits(names)
    now = timezone.now()
    return [
        KeyRow(
            key,
            (now - (key.rotated or key.created)).days,
            spent.today,
            spent.month,
            *limits.get(name, (None, None)),
        )
        for key, name in zip(keys, names, strict=True)
        for spent in [used.get(name, NOTHING)]
    ]

"""Questions about API keys."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils import timezone

from apikeys.models import ApiKey
from portal.credentials.selectors import with_status
from portal.spend import scopes, selectors
from portal.spend.selectors import NOTHING, Calendar


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key with its age, spend and limits, in nano-units."""

    key: ApiKey
    age: int
    today: int
    month: int
    day_limit: int | None
    month_limit: int | None


def matching(
    keys: QuerySet[ApiKey], *, text: str = "", project: str = "", status: str = ""
) -> QuerySet[ApiKey]:
    """Return the keys that fit every filter given, with project and owner."""
    if text:
        keys = keys.filter(
            Q(name__icontains=text)
            | Q(project__name__icontains=text)
            | Q(hint__endswith=text)
            | Q(key_id=text)
        )
    if project:
        keys = keys.filter(project__code=project)
    return with_status(keys, status).select_related("project", "owner")


def key_rows(keys: Sequence[ApiKey], calendar: Calendar) -> list[KeyRow]:
    """Return the keys with spend and limits, in two queries."""
    names = [scopes.credential(key.key_id) for key in keys]
    used, limits = selectors.today_and_month(names, calendar), selectors.spend_limits(names)
    now = timezone.now()
    return [
        KeyRow(key, (now - key.created).days, spent.today, spent.month, *limits.get(name, (None, None)))
        for key, name in zip(keys, names, strict=True)
        for spent in [used.get(name, NOTHING)]
    ]

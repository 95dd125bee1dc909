"""Questions about user tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from portal.accounts.models import Person
from portal.accounts.selectors import people_meant
from portal.credentials.selectors import unused_since, with_status, with_text
from portal.organization.selectors import current as current_organization
from portal.spend import scopes, selectors
from portal.spend.selectors import NOTHING, Calendar
from projects.selectors import projects_meant
from tokens.models import UserToken


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token with its spend and limits, in nano-units."""

    token: UserToken
    today: int
    month: int
    day_limit: int | None
    month_limit: int | None


def matching(
    tokens: QuerySet[UserToken],
    *,
    text: str = "",
    project: str = "",
    status: str = "",
    group: str = "",
    person: str = "",
) -> QuerySet[UserToken]:
    """Return the tokens that fit every filter given, with project and person; `person` is an id."""
    if text:
        tokens = with_text(tokens, text, Q(person__in=people_meant(text)))
    if project:
        tokens = tokens.filter(project__in=projects_meant(project))
    if group:
        tokens = tokens.filter(project__group__code=group)
    if person:
        tokens = tokens.filter(person=int(person)) if person.isdecimal() else tokens.none()
    if status == "unused":
        days = current_organization().unused_flag_days
        tokens = unused_since(tokens, timezone.now() - timedelta(days=days))
    else:
        tokens = with_status(tokens, status)
    return tokens.select_related("project", "person")


def current_tokens_of(person: Person, within: QuerySet[UserToken]) -> QuerySet[UserToken]:
    """Return the tokens of a person that are not revoked, of those given."""
    return within.filter(person=person, revoked__isnull=True)


def token_rows(tokens: Sequence[UserToken], calendar: Calendar) -> list[TokenRow]:
    """Return the tokens with spend and limits, in two queries."""
    keys = [scopes.credential(token.key_id) for token in tokens]
    used, limits = selectors.today_and_month(keys, calendar), selectors.spend_limits(keys)
    return [
        TokenRow(token, spent.today, spent.month, *limits.get(key, (None, None)))
        for token, key in zip(tokens, keys, strict=True)
        for spent in [used.get(key, NOTHING)]
    ]

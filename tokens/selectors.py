"""Questions about user tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from portal.credentials.selectors import with_status
from portal.spend import scopes, selectors
from portal.spend.selectors import NOTHING, Calendar
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
    tokens: QuerySet[UserToken], *, text: str = "", project: str = "", status: str = ""
) -> QuerySet[UserToken]:
    """Return the tokens that fit every filter given, with project and person."""
    if text:
        tokens = tokens.filter(
            Q(person__name__icontains=text)
            | Q(person__email__icontains=text)
            | Q(name__icontains=text)
            | Q(hint__endswith=text)
            | Q(key_id=text)
        )
    if project:
        tokens = tokens.filter(project__code=project)
    return with_status(tokens, status).select_related("project", "person")


def token_rows(tokens: Sequence[UserToken], calendar: Calendar) -> list[TokenRow]:
    """Return the tokens with spend and limits, in two queries."""
    keys = [scopes.credential(token.key_id) for token in tokens]
    used, limits = selectors.today_and_month(keys, calendar), selectors.spend_limits(keys)
    return [
        TokenRow(token, spent.today, spent.month, *limits.get(key, (None, None)))
        for token, key in zip(tokens, keys, strict=True)
        for spent in [used.get(key, NOTHING)]
    ]

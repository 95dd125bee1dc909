"""The order of lists of credentials by what they spent this month."""

from collections.abc import Sequence
from typing import TypeVar

from django.db.models import QuerySet

from portal.credentials.models import CallCredential
from portal.spend.models import CredentialMonth
from portal.web.pagination import Page, page_of

C = TypeVar("C", bound=CallCredential)

BY_SPEND = ("first", "spend", "credential")
"""The order of a column of this month's spend: see `page_in_order`."""


def page_in_order(credentials: QuerySet[C], *, kind: str, order: Sequence[str], cursor: str) -> Page[C]:
    """Return a page of the credentials (of one kind, as the log calls it) in the order of a column.

    By this month's spend, those used in earlier months only come after those of this month, by the latest month, and
    those never used after them. The place is found by the index of `CredentialMonth`, whatever their number.
    """
    if {name.removeprefix("-") for name in order} != set(BY_SPEND):
        return page_of(credentials, order=order, cursor=cursor)
    months = CredentialMonth.objects.filter(
        kind=kind, credential__in=credentials.select_related(None).order_by().values("key_id")
    )
    page: Page[CredentialMonth] = page_of(months, order=order, cursor=cursor)
    keys = [month.credential for month in page.rows]
    found = {row.key_id: row for row in credentials.filter(key_id__in=keys)}
    return Page([found[key] for key in keys if key in found], page.next, page.previous)

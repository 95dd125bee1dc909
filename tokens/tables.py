"""The list of user tokens, on its own page and on a project's."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest

from portal.credentials.selectors import STATUSES, by_time
from portal.spend.selectors import Calendar
from portal.web.pagination import Page, page_of
from portal.web.tables import Column, FilterForm, sorting
from tokens.models import UserToken
from tokens.selectors import matching, token_rows

REGION = "token-table"
COLUMNS = (
    Column("person", "Person", order=("person__name", "pk")),
    Column("project", "Project", order=("project__name", "pk"), css="p3"),
    Column("token", "Token", css="p3"),
    Column("today", "Today", css="p4"),
    Column("month", "This month"),
    Column("expires", "Expires", order=("expires", "pk"), css="p3"),
    Column("used", "Last used", order=("last_used", "pk"), css="p4", starts_descending=True),
    Column("status", "Status", css="p2"),
    Column("actions", "Actions", css="tight", is_hidden=True),
)


class TokenFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Person, name or last 4 characters", max_length=100)
    status = forms.ChoiceField(label="Status", choices=STATUSES)


def token_table(
    request: HttpRequest, tokens: QuerySet[UserToken], calendar: Calendar, *, is_project: bool = False
) -> dict[str, Any]:
    """Return the context of the list: filtered, sorted and paged as the address says."""
    filters = TokenFilters(request.GET)
    left_out = "project" if is_project else "today"
    columns = [column for column in COLUMNS if column.key != left_out]
    table = sorting(columns, request.GET, default="person" if is_project else "-used")
    found = matching(tokens, text=filters.value("q"), status=filters.value("status"))
    number = found.count()
    page: Page[UserToken] = page_of(found, order=table.order, cursor=request.GET.get("cursor", ""))
    return {
        "filters": filters,
        "table": table,
        "page": Page(token_rows(page.rows, calendar), page.next, page.previous),
        "region": REGION,
        "summary": f"Sorted by {by_time(table.words)}",
        "count": f"{number:,} token{'' if number == 1 else 's'}",
        "is_project": is_project,
    }

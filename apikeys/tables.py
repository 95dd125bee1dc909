"""The list of API keys, on its own page and on a project's."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest

from apikeys.models import ApiKey
from apikeys.selectors import STATES, key_rows, matching
from portal.credentials.selectors import STATUSES, UNUSED, counted
from portal.spend.selectors import Calendar
from portal.web.pagination import Page, page_of
from portal.web.tables import Column, FilterForm, sorting

REGION = "key-table"
COLUMNS = (
    Column("name", "Key", order=("name", "pk")),
    Column("project", "Project", order=("project__name", "pk"), css="p3"),
    Column("secret", "Secret", css="p4"),
    Column("month", "This month"),
    Column("created", "Created", order=("created", "pk"), css="p4", starts_descending=True, is_time=True),
    Column("expires", "Expires", order=("expires", "pk"), css="p4"),
    Column("used", "Last used", order=("last_used", "pk"), css="p4", starts_descending=True, is_time=True),
    Column("status", "Status", css="p2"),
    Column("actions", "Actions", css="tight", is_hidden=True),
)


class KeyFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Name, project or last 4", max_length=100)
    status = forms.ChoiceField(label="Status", choices=[*STATUSES, *STATES, UNUSED])


def key_table(
    request: HttpRequest,
    keys: QuerySet[ApiKey],
    calendar: Calendar,
    *,
    is_project: bool = False,
    may_revoke: bool = False,
) -> dict[str, Any]:
    """Return the context of the list: filtered, sorted and paged as the address says."""
    filters = KeyFilters(request.GET)
    columns = [column for column in COLUMNS if not (is_project and column.key == "project")]
    table = sorting(columns, request.GET, default="-used")
    found = matching(keys, text=filters.value("q"), status=filters.value("status"))
    page: Page[ApiKey] = page_of(found, order=table.order, cursor=request.GET.get("cursor", ""))
    return {
        "filters": filters,
        "table": table,
        "page": Page(key_rows(page.rows, calendar), page.next, page.previous),
        "region": REGION,
        "summary": f"Sorted by {table.words}",
        "count": counted(found, "key"),
        "is_project": is_project,
        "may_revoke": may_revoke,
    }

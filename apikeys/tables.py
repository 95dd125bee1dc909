"""The list of API keys, on its own page and on a project's."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict

from apikeys.models import ApiKey
from apikeys.selectors import STATES, key_rows, matching
from portal.credentials.selectors import STATUSES, UNUSED, counted
from portal.credentials.tables import BY_SPEND, page_in_order
from portal.spend.selectors import Calendar
from portal.web.pagination import Page
from portal.web.tables import Column, FilterForm, sorting

REGION = "key-table"
COLUMNS = (
    Column("name", "Key", order=("name", "pk")),
    Column("project", "Project", order=("project__name", "pk"), css="p3"),
    Column("secret", "Secret", css="p4"),
    Column("month", "This month", order=BY_SPEND, starts_descending=True),
    Column("created", "Created", order=("created", "pk"), css="p4", starts_descending=True, is_time=True),
    Column("expires", "Expires", order=("expires", "pk"), css="p4"),
    Column("used", "Last used", order=("last_used", "pk"), css="p4", starts_descending=True, is_time=True),
    Column("status", "Status", css="p2"),
    Column("actions", "Actions", css="tight", is_hidden=True),
)


class KeyFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Name, project or last 4", max_length=100)
    project = forms.CharField(
        label="Project", max_length=120, widget=forms.TextInput(attrs={"placeholder": "Project name or code"})
    )
    person = forms.CharField(
        label="Owner or deputy",
        max_length=200,
        widget=forms.TextInput(attrs={"placeholder": "Owner or deputy"}),
    )
    status = forms.ChoiceField(label="Status", choices=[*STATUSES, *STATES, UNUSED])

    def __init__(self, query: QueryDict, *, is_project: bool = False) -> None:
        super().__init__(query)
        if is_project:
            del self.fields["project"]
            self.full_clean()

    def found(self, keys: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        """Return the keys that fit."""
        wanted = {name: self.value(name) for name in self.fields if name != "q"}
        return matching(keys, text=self.value("q"), **wanted)


def key_table(
    request: HttpRequest,
    keys: QuerySet[ApiKey],
    calendar: Calendar,
    *,
    is_project: bool = False,
    may_revoke: bool = False,
) -> dict[str, Any]:
    """Return the context of the list: filtered, sorted and paged as the address says."""
    filters = KeyFilters(request.GET, is_project=is_project)
    columns = [column for column in COLUMNS if not (is_project and column.key == "project")]
    table = sorting(columns, request.GET, default="-used")
    found = filters.found(keys)
    page: Page[ApiKey] = page_in_order(
        found, kind="api_key", order=table.order, cursor=request.GET.get("cursor", "")
    )
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

"""The list of user tokens, on its own page and on a project's."""

from dataclasses import replace
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict

from groups.access import groups_with
from portal.accounts.access import can, person_of
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.credentials.selectors import STATUSES, UNUSED, counted
from portal.credentials.tables import BY_SPEND, page_in_order
from portal.spend.selectors import Calendar
from portal.web.pagination import Page
from portal.web.tables import Column, FilterForm, sorting
from tokens.models import UserToken
from tokens.selectors import matching, token_rows

REGION = "token-table"
MOST_GROUPS = 200
COLUMNS = (
    Column("person", "Person", order=("person__name", "pk")),
    Column("project", "Project", order=("project__name", "pk"), css="p3"),
    Column("token", "Token", css="p3"),
    Column("today", "Today", css="p4"),
    Column("month", "This month", order=BY_SPEND, starts_descending=True),
    Column("created", "Issued", order=("created", "pk"), css="p4", starts_descending=True, is_time=True),
    Column("expires", "Expires", order=("expires", "pk"), css="p3"),
    Column("used", "Last used", order=("last_used", "pk"), css="p4", starts_descending=True, is_time=True),
    Column("status", "Status", css="p2"),
    Column("actions", "Actions", css="tight", is_hidden=True),
)


class TokenFilters(FilterForm):
    """The filters above the list; `person` comes from links alone."""

    q = forms.CharField(label="Person, name or last 4 characters", max_length=100)
    project = forms.CharField(
        label="Project", max_length=120, widget=forms.TextInput(attrs={"placeholder": "Project name or code"})
    )
    group = forms.ChoiceField(label="Group")
    status = forms.ChoiceField(label="Status", choices=[*STATUSES, UNUSED])
    person = forms.CharField(label="Person", max_length=20, widget=forms.HiddenInput)

    def __init__(
        self, query: QueryDict, *, person: Person, is_project: bool = False, is_mine: bool = False
    ) -> None:
        super().__init__(query)
        sees_groups = can(person, Right.SEE_GROUPS)
        needless = {
            "project": is_project,
            "group": is_project or is_mine or not sees_groups,
            "person": is_project or is_mine,
        }
        for name in [name for name, is_needless in needless.items() if is_needless]:
            del self.fields[name]
        if "group" in self.fields:
            groups = groups_with(person, Right.SEE_GROUPS).order_by("name").values_list("code", "name")
            choices = [("", "All groups"), *groups[:MOST_GROUPS]]
            self.fields["group"].choices = choices  # type: ignore[attr-defined]
        self.full_clean()

    def found(self, tokens: QuerySet[UserToken]) -> QuerySet[UserToken]:
        """Return the tokens that fit."""
        wanted = {name: self.value(name) for name in self.fields if name != "q"}
        return matching(tokens, text=self.value("q"), **wanted)


def token_table(
    request: HttpRequest,
    tokens: QuerySet[UserToken],
    calendar: Calendar,
    *,
    is_project: bool = False,
    is_mine: bool = False,
    may_revoke: bool = False,
) -> dict[str, Any]:
    """Return the context of the list: filtered, sorted and paged as the address says."""
    filters = TokenFilters(request.GET, person=person_of(request), is_project=is_project, is_mine=is_mine)
    left_out = {"project"} if is_project else {"today", "person"} if is_mine else {"today"}
    columns = [column for column in COLUMNS if column.key not in left_out]
    if is_mine:  # the project is what names a row
        columns = [replace(column, css="") if column.key == "project" else column for column in columns]
    table = sorting(columns, request.GET, default="person" if is_project else "-used")
    found = filters.found(tokens)
    page: Page[UserToken] = page_in_order(
        found, kind="user_token", order=table.order, cursor=request.GET.get("cursor", "")
    )
    return {
        "filters": filters,
        "table": table,
        "page": Page(token_rows(page.rows, calendar), page.next, page.previous),
        "region": REGION,
        "summary": f"Sorted by {table.words}",
        "count": counted(found, "token"),
        "is_project": is_project,
        "is_mine": is_mine,
        "may_revoke": may_revoke,
    }

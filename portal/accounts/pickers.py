"""Form fields for somebody, or a group, of the directory: searched for, never typed.

The value is an object id; the server asks the directory for it again before it is used. Without script the search
is the form itself: its button sends the form, which comes back with what was found.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from portal.accounts import graph
from portal.accounts.graph import DirectoryGroup, DirectoryPerson, DirectoryUnavailable

MOST_CHOSEN = 20
FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True, slots=True)
class Option:
    """One line of the results."""

    oid: str
    label: str
    detail: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Results:
    """What a search found, with what is chosen on top; `problem` says why nothing could be searched."""

    options: list[Option]
    query: str
    problem: str = ""


class Picker(forms.Widget):
    """A search field and its results, as radio buttons, or as checkboxes where several may be chosen."""

    url_name: ClassVar[str]
    placeholder: ClassVar[str]

    def __init__(self, attrs: dict[str, Any] | None = None, *, several: bool = False) -> None:
        super().__init__(attrs)
        self.several = several

    def search(self, text: str) -> Sequence[DirectoryPerson | DirectoryGroup]:
        """Ask the directory."""
        raise NotImplementedError

    def look_up(self, oid: UUID) -> DirectoryPerson | DirectoryGroup | None:
        """Return who or what has an object id."""
        raise NotImplementedError

    def value_from_datadict(self, data: Any, files: Any, name: str) -> dict[str, Any]:
        """Return what is chosen, what is searched for, and whether the search button was pressed."""
        chosen = data.getlist(name) if hasattr(data, "getlist") else [data[name]] if data.get(name) else []
        query = str(data.get(f"{name}_q", ""))[:100]
        return {"chosen": chosen[:MOST_CHOSEN], "query": query, "is_search": f"{name}_find" in data}

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """Tell whether the form was sent without this field."""
        return name not in data and f"{name}_q" not in data

    def use_required_attribute(self, initial: Any) -> bool:
        """The browser cannot know whether something was chosen."""
        return False

    def results(self, chosen: Sequence[str], query: str) -> Results:
        """Return the lines to draw: what is chosen, then what the search finds."""
        try:
            rows: dict[UUID, tuple[DirectoryPerson | DirectoryGroup, bool]] = {}
            for oid in (each for each in map(_guid, chosen) if each):
                if found := self.look_up(oid):
                    rows[oid] = found, True
            for each in self.search(query):
                rows.setdefault(each.oid, (each, False))
        except DirectoryUnavailable as error:
            return Results([], query, str(error))
        return Results([_option(found, is_chosen) for found, is_chosen in rows.values()], query)

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Draw the search field and what is known without a search."""
        if not isinstance(value, dict):
            value = {"chosen": [str(value)] if value else [], "query": ""}
        attributes = self.build_attrs(self.attrs, attrs or {})
        context = self.context(name, value["chosen"], value["query"]) | {
            "id": attributes.get("id", f"id_{name}"),
            "url": reverse(f"accounts:{self.url_name}"),
            "placeholder": self.placeholder,
            "described_by": attributes.get("aria-describedby", ""),
            "invalid": attributes.get("aria-invalid", ""),
        }
        return SafeString(render_to_string("accounts/_picker.html", context))

    def context(self, name: str, chosen: Sequence[str], query: str) -> dict[str, Any]:
        """Return the context of the results."""
        return {"name": name, "several": self.several, "results": self.results(chosen, query)}


class PersonPicker(Picker):
    """Chooses people."""

    url_name = "find_people"
    placeholder = "Name or address"

    def search(self, text: str) -> Sequence[DirectoryPerson]:
        """Find people."""
        return graph.search_people(text)

    def look_up(self, oid: UUID) -> DirectoryPerson | None:
        """Find the person."""
        return graph.person(oid)


class GroupPicker(Picker):
    """Chooses groups of Entra ID."""

    url_name = "find_groups"
    placeholder = "Name of the group"

    def search(self, text: str) -> Sequence[DirectoryGroup]:
        """Find groups."""
        return graph.search_groups(text)

    def look_up(self, oid: UUID) -> DirectoryGroup | None:
        """Find the group."""
        return graph.group(oid)


class _DirectoryField(forms.Field):
    widget: Any
    noun: ClassVar[str]

    def __init__(self, *, several: bool = False, **kwargs: Any) -> None:
        super().__init__(widget=self.widget(several=several), **kwargs)
        self.several = several

    def clean(self, value: dict[str, Any] | None) -> Any:
        """Return who or what was chosen, as the directory has it now: one, or a list where several may be."""
        value = value or {"chosen": [], "query": "", "is_search": False}
        if value["is_search"]:
            raise ValidationError(f"Choose {self.noun} from the list, then go on.", code="search")
        chosen = value["chosen"]
        if not chosen and (self.required or value["query"]):
            raise ValidationError(f"Search for {self.noun} and choose from the list.", code="required")
        if len(chosen) > 1 and not self.several:
            raise ValidationError("Choose one.", code="invalid")
        found = [self._look_up(each) for each in chosen]
        return found if self.several else found[0] if found else None

    def _look_up(self, text: str) -> DirectoryPerson | DirectoryGroup:
        oid = _guid(text)
        try:
            found = self.widget.look_up(oid) if oid else None
        except DirectoryUnavailable as error:
            raise ValidationError(str(error), code="unavailable") from error
        if found is None:
            raise ValidationError("The directory does not know this choice. Search again.", code="invalid")
        if isinstance(found, DirectoryPerson) and not found.is_enabled:
            raise ValidationError(f"{found.name} is disabled in the directory.", code="disabled")
        return found  # type: ignore[no-any-return]


class PersonField(_DirectoryField):
    """Somebody of the directory: cleans to a DirectoryPerson (several: a list of them)."""

    widget = PersonPicker
    noun = "a person"


class GroupField(_DirectoryField):
    """A group of the directory: cleans to a DirectoryGroup (several: a list of them)."""

    widget = GroupPicker
    noun = "a group"


def _option(found: DirectoryPerson | DirectoryGroup, is_chosen: bool) -> Option:
    if isinstance(found, DirectoryGroup):
        return Option(str(found.oid), found.name, found.description, is_chosen)
    work = ", ".join(filter(None, [found.title, found.department]))
    guest = "guest" if found.is_guest else ""
    return Option(str(found.oid), found.name, " · ".join(filter(None, [found.email, work, guest])), is_chosen)


def _guid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

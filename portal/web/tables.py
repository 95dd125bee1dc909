"""Lists whose order and filters live in the address, so that any view of them can be shared.

A list declares its columns once; ``sorting`` reads the wanted order from the address and returns the heads to draw
and the keys to page by.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django import forms
from django.http import QueryDict

CURSOR = "cursor"
SORT = "sort"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `order` are the names to sort by ascending (none: not sortable); `css` as ``num``, ``tight p3``.

    ``starts_descending`` is for figures, where the highest is what people look for; ``is_time`` for moments.
    """

    key: str
    label: str
    order: tuple[str, ...] = ()
    css: str = ""
    starts_descending: bool = False
    is_hidden: bool = False
    is_time: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column as this page shows it; `direction` is the value of ``aria-sort`` or empty."""

    key: str
    label: str
    css: str
    href: str
    direction: str
    is_hidden: bool


@dataclass(frozen=True, slots=True)
class Sorting:
    """What to draw above a list, what to page it by, and its order in words (``spend this month, highest first``)."""

    heads: list[Head]
    order: tuple[str, ...]
    sort: str
    words: str


def sorting(columns: Sequence[Column], query: QueryDict, *, default: str) -> Sorting:
    """Read ``?sort=key`` or ``?sort=-key``; anything else is `default`, which names a sortable column likewise."""
    by_key = {column.key: column for column in columns if column.order}
    wanted = query.get(SORT, "")
    sort = wanted if wanted.removeprefix("-") in by_key else default
    current, is_descending = by_key[sort.removeprefix("-")], sort.startswith("-")
    order = tuple(_reversed(name) for name in current.order) if is_descending else current.order
    direction = "descending" if is_descending else "ascending"
    heads = []
    for column in columns:
        is_current = column is current
        turned = not is_descending if is_current else column.starts_descending
        href = address(query, sort=f"{'-' if turned else ''}{column.key}") if column.order else ""
        heads.append(
            Head(
                column.key, column.label, column.css, href, direction if is_current else "", column.is_hidden
            )
        )
    return Sorting(heads, order, sort, _words(current, is_descending=is_descending))


def _words(column: Column, *, is_descending: bool) -> str:
    name = column.label[:1].lower() + column.label[1:]
    if column.is_time:
        return f"{name}, {'latest' if is_descending else 'earliest'} first"
    if column.starts_descending:
        return f"{name}, {'highest' if is_descending else 'lowest'} first"
    return name


def _reversed(name: str) -> str:
    return name.removeprefix("-") if name.startswith("-") else f"-{name}"


def address(query: QueryDict, **changes: str | None) -> str:
    """Return the query string with some parameters changed (None: removed), back on the first page."""
    changed = query.copy()
    changed.pop(CURSOR, None)
    for name, value in changes.items():
        if value is None:
            changed.pop(name, None)
        else:
            changed[name] = value
    return f"?{changed.urlencode()}"


class FilterForm(forms.Form):
    """Base of the filters above a list: optional fields read from the address, ``q`` for the search.

    A value that is not offered counts as not given, so an old or altered address still shows a list.
    """

    use_required_attribute = False

    def __init__(self, query: QueryDict) -> None:
        super().__init__(query, auto_id="filter_%s")
        for name, field in self.fields.items():
            field.required = False
            if name == "q":
                field.widget.input_type = "search"
                field.widget.attrs["placeholder"] = field.label
            else:
                field.widget.attrs["aria-label"] = field.label
        self.is_valid()

    def value(self, name: str) -> str:
        """Return the chosen value, or an empty text."""
        return str(self.cleaned_data.get(name) or "").strip()

    @property
    def is_active(self) -> bool:
        """Tell whether anything narrows the list."""
        return any(self.value(name) for name in self.fields)

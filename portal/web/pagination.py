"""Keyset paging: the next page starts after the last row, so it costs the same on page 1 and on page 1,000.

Works on querysets and on lists of dataclasses alike. The order is a list of names, each with ``-`` for descending;
the last one must be unique (querysets get ``pk`` by themselves). What is unknown (None) comes last, in either
direction. The cursor is signed: an altered one, or one of another order, shows the first page.
"""

import datetime
import functools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from django.core import signing
from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, Field, Func, Model, Q, QuerySet, TextField, Value
from django.db.models.lookups import GreaterThan, LessThan

T = TypeVar("T")

SIZE = 50
MAX_SIZE = 200
_SALT = "portal.web.pagination"
_TYPES: dict[str, tuple[type, Callable[[str], Any]]] = {
    "t": (datetime.datetime, datetime.datetime.fromisoformat),
    "d": (datetime.date, datetime.date.fromisoformat),
    "n": (Decimal, Decimal),
    "u": (uuid.UUID, uuid.UUID),
}


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list, and the cursors of the pages around it (None where there is none)."""

    rows: list[T]
    next: str | None
    previous: str | None


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    is_descending: bool
    is_nullable: bool

    def of(self, row: Any) -> Any:
        for part in self.name.split("__"):
            row = None if row is None else getattr(row, part)
        return row


def page_of(
    rows: QuerySet[Any] | Sequence[T], *, order: Sequence[str], cursor: str = "", size: int = SIZE
) -> Page[T]:
    """Return the page that `cursor` (the text of the address) names, of at most `size` rows in `order`."""
    size = min(size, MAX_SIZE)
    keys = _keys(rows, order)
    is_backward, values = _decode(cursor, keys)
    if isinstance(rows, QuerySet):
        found = _of_queryset(rows, keys, values, is_backward, size)
    else:
        found = _of_list(rows, keys, values, is_backward, size)
    has_more = len(found) > size
    found = found[:size]
    if is_backward:
        found.reverse()
    if not found:
        # The rows the cursor stood before are gone: start again rather than show an empty page.
        return Page([], None, None) if values is None else page_of(rows, order=order, size=size)
    has_next = is_backward or has_more
    has_previous = has_more if is_backward else values is not None
    return Page(
        found,
        _encode(keys, found[-1], is_backward=False) if has_next else None,
        _encode(keys, found[0], is_backward=True) if has_previous else None,
    )


def _keys(rows: QuerySet[Any] | Sequence[Any], order: Sequence[str]) -> list[_Key]:
    names = list(order)
    model = rows.model if isinstance(rows, QuerySet) else None
    if model is not None and not {name.lstrip("-") for name in names} & {"pk", model._meta.pk.name}:
        # In the direction of what comes before it: then one index serves the whole order.
        names.append("-pk" if names and names[-1].startswith("-") else "pk")
    return [
        _Key(name.lstrip("-"), name.startswith("-"), model is None or _may_be_null(model, name.lstrip("-")))
        for name in names
    ]


def _may_be_null(model: type[Model], path: str) -> bool:
    """Tell whether a path of fields can be NULL; anything computed can."""
    if path == "pk":
        return False
    for part in path.split("__"):
        try:
            field = model._meta.get_field(part)
        except FieldDoesNotExist:
            return True
        if field.null or not isinstance(field, Field):
            return True
        if field.is_relation and isinstance(field.related_model, type):
            model = field.related_model
    return False


def _of_queryset(
    rows: QuerySet[Any], keys: list[_Key], values: list[Any] | None, is_backward: bool, size: int
) -> list[Any]:
    ordering = []
    for key in keys:
        expression, is_descending = F(key.name), key.is_descending != is_backward
        # NULLs are named only where they occur, because an index serves the plain order alone.
        nulls = ({"nulls_first": True} if is_backward else {"nulls_last": True}) if key.is_nullable else {}
        ordering.append(expression.desc(**nulls) if is_descending else expression.asc(**nulls))
    if values is not None:
        rows = rows.filter(_beyond(keys, values, is_backward))
    return list(rows.order_by(*ordering)[: size + 1])


class _Row(Func):
    """Several values as one, compared from the first on."""

    template = "ROW(%(expressions)s)"
    output_field = TextField()


def _beyond(keys: list[_Key], values: list[Any], is_backward: bool) -> Q:
    """Return the condition for the rows strictly after the values, or before them when going backward."""
    directions = {key.is_descending for key in keys}
    if len(directions) == 1 and not any(key.is_nullable for key in keys):
        # One comparison of rows, which an index over the keys answers wherever the page begins.
        side = LessThan if directions != {is_backward} else GreaterThan
        place = _Row(*(F(key.name) for key in keys))
        return Q(side(place, _Row(*(Value(value) for value in values))))
    condition = Q()
    for key, value in reversed(list(zip(keys, values, strict=True))):
        if value is None:
            same = Q(**{f"{key.name}__isnull": True})
            further = Q(**{f"{key.name}__isnull": False}) if is_backward else Q(pk__in=[])
        else:
            same = Q(**{key.name: value})
            operator = "lt" if key.is_descending != is_backward else "gt"
            further = Q(**{f"{key.name}__{operator}": value})
            if key.is_nullable and not is_backward:
                further |= Q(**{f"{key.name}__isnull": True})
        condition = further | (same & condition) if condition else further
    return condition


def _of_list(
    rows: Sequence[T], keys: list[_Key], values: list[Any] | None, is_backward: bool, size: int
) -> list[T]:
    def compare(left: Sequence[Any], right: Sequence[Any]) -> int:
        for key, a, b in zip(keys, left, right, strict=True):
            if a == b:
                continue
            if a is None or b is None:
                return 1 if a is None else -1
            return 1 if (a > b) != key.is_descending else -1
        return 0

    def values_of(row: T) -> list[Any]:
        return [key.of(row) for key in keys]

    by_keys = functools.cmp_to_key(compare)
    ordered = sorted(rows, key=lambda row: by_keys(values_of(row)), reverse=is_backward)
    if values is not None:
        side = -1 if is_backward else 1
        ordered = [row for row in ordered if compare(values_of(row), values) * side > 0]
    return ordered[: size + 1]


def _encode(keys: list[_Key], row: Any, *, is_backward: bool) -> str:
    values = [_pack(key.of(row)) for key in keys]
    return signing.dumps([_names(keys), int(is_backward), values], salt=_SALT, compress=True)


def _decode(cursor: str, keys: list[_Key]) -> tuple[bool, list[Any] | None]:
    if not cursor:
        return False, None
    try:
        names, is_backward, packed = signing.loads(cursor, salt=_SALT)
        if names != _names(keys):
            return False, None
        return bool(is_backward), [_unpack(value) for value in packed]
    except (signing.BadSignature, ValueError, TypeError):
        return False, None


def _names(keys: list[_Key]) -> str:
    return ",".join(("-" if key.is_descending else "") + key.name for key in keys)


def _pack(value: Any) -> Any:
    for code, (kind, _) in _TYPES.items():
        if isinstance(value, kind):
            return [code, value.isoformat() if isinstance(value, datetime.date) else str(value)]
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"{type(value).__name__} cannot be a key of a page")


def _unpack(value: Any) -> Any:
    return _TYPES[value[0]][1](value[1]) if isinstance(value, list) else value

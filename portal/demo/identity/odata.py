"""The part of OData that the portal uses: $filter, $search, $select, $top, paging, and Graph's error shape."""

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from flask import request
from flask.typing import ResponseReturnValue

Row = dict[str, Any]

_TERM = re.compile(
    r"\s*(?:(?P<field>\w+)\s+eq\s+(?:'(?P<text>(?:[^']|'')*)'|(?P<flag>true|false))"
    r"|startswith\((?P<start>\w+),\s*'(?P<prefix>(?:[^']|'')*)'\))\s*"
)
_SEARCH = re.compile(r'\s*"(?P<field>\w+):(?P<text>(?:[^"\\]|\\.)*)"\s*')


class BadQuery(Exception):
    """The query is not understood; the message is for the caller."""


def error(code: str, message: str, status: int) -> ResponseReturnValue:
    """Return an error in Graph's shape."""
    return {"error": {"code": code, "message": message, "innerError": {"request-id": "stand-in"}}}, status


def answer(rows: Iterable[Row], context: str, base: str, extra: Row | None = None) -> ResponseReturnValue:
    """Return the rows the query asks for, one page of them."""
    try:
        found = [row for row in rows if _filter()(row) and _search()(row)]
        top = min(max(int(request.args.get("$top", 100)), 1), 999)
        skip = int(request.args.get("$skiptoken", 0))
    except (BadQuery, ValueError) as problem:
        return error("Request_UnsupportedQuery", str(problem), 400)
    page = [select(row) for row in found[skip : skip + top]]
    body: Row = {"@odata.context": f"{base}/$metadata#{context}", "value": page}
    if skip + top < len(found):
        query = request.args.to_dict() | {"$skiptoken": str(skip + top)}
        body["@odata.nextLink"] = f"{base.removesuffix('/v1.0')}{request.path}?{urlencode(query)}"
    else:
        body |= extra or {}
    return body


def select(row: Row) -> Row:
    """Keep the fields that $select names; without it, all but those Graph shows only when asked."""
    names = request.args.get("$select")
    if not names:
        return {
            name: value
            for name, value in row.items()
            if name not in ("accountEnabled", "department", "userType")
        }
    wanted = {"id", "@odata.type", *(name.strip() for name in names.split(","))}
    return {name: value for name, value in row.items() if name in wanted}


def _filter() -> Callable[[Row], bool]:
    text = request.args.get("$filter")
    if not text:
        return lambda row: True
    terms = []
    for part in re.split(r"\s+or\s+(?=(?:[^']*'[^']*')*[^']*$)", text):
        match = _TERM.fullmatch(part)
        if not match:
            raise BadQuery(f"Unsupported or invalid query filter clause: {text}")
        terms.append(_term(match))
    return lambda row: any(term(row) for term in terms)


def _term(match: re.Match[str]) -> Callable[[Row], bool]:
    if match["start"]:
        prefix = match["prefix"].replace("''", "'").lower()
        return lambda row: str(row.get(match["start"]) or "").lower().startswith(prefix)
    if match["flag"]:
        return lambda row: row.get(match["field"]) is (match["flag"] == "true")
    value = match["text"].replace("''", "'").lower()
    return lambda row: str(row.get(match["field"]) or "").lower() == value


def _search() -> Callable[[Row], bool]:
    text = request.args.get("$search")
    if not text:
        return lambda row: True
    if request.headers.get("ConsistencyLevel") != "eventual":
        raise BadQuery(
            "Request with $search query parameter only works through MSGraph with a special request "
            "header: 'ConsistencyLevel: eventual'"
        )
    terms = []
    for part in re.split(r"\s+OR\s+", text):
        match = _SEARCH.fullmatch(part)
        if not match:
            raise BadQuery(f"Syntax error in $search: {text}")
        terms.append((match["field"], re.sub(r"\\(.)", r"\1", match["text"]).lower()))
    return lambda row: any(_words_begin(str(row.get(field) or "").lower(), words) for field, words in terms)


def _words_begin(value: str, asked: str) -> bool:
    """Tell whether each word asked for begins a word of `value`."""
    have = [*re.split(r"[\s@._\-]+", value), value]
    return all(any(word.startswith(each) for word in have) for each in asked.split())

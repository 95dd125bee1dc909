"""What Ctrl K finds: only what the person may see anyway, each kind by what is indexed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q
from django.db.models.functions import Right
from django.urls import reverse

from apikeys.access import keys_visible_to
from audit.access import entries_visible_to
from groups.access import groups_with
from portal.accounts import policy
from portal.accounts.access import can
from portal.accounts.models import Person
from portal.calls.selectors import calls_found
from portal.lib import secrets
from portal.web.context import Shell
from projects.access import projects_with
from tokens.access import tokens_visible_to

LEAST, MOST = 2, 6
TAIL = 4  # characters of a secret that are kept to tell it by
_KEY_ID = re.compile(r"(?:llmgw_(?:ut|ak)_)?([0-9A-Za-z]{12}|[0-9A-Za-z]{4})(?:_….{4})?")


@dataclass(frozen=True, slots=True)
class Found:
    """One thing: where it is, what it is called, and what tells it from others."""

    href: str
    name: str
    note: str
    icon: str


@dataclass(frozen=True, slots=True)
class Section:
    """The things of one kind, and whether there are more than shown."""

    title: str
    found: list[Found]
    more: str = ""  # the address of the list with the same search


def find(person: Person, shell: Shell, text: str) -> list[Section]:
    """Return what matches ``text``, at most MOST of each kind; a whole secret is looked up by its id only."""
    secret = secrets.parse(text)
    words = secret.key_id if secret else " ".join(text.split())
    if len(words) < LEAST:
        return []
    sections = _credentials(person, words) if secret else _everywhere(person, shell, words)
    return [section for section in sections if section.found]


def _everywhere(person: Person, shell: Shell, words: str) -> Iterator[Section]:
    yield Section("Pages", _pages(shell, words))
    yield _projects(person, words)
    groups = (
        groups_with(person).filter(Q(name__icontains=words) | Q(code__icontains=words)).order_by("name", "pk")
    )
    hits = [
        Found(reverse("groups:detail", args=[group.code]), group.name, group.code, "building-2")
        for group in groups[:MOST]
    ]
    yield Section("Groups", hits)
    if can(person, policy.Right.SEE_PEOPLE, everywhere=True):
        yield _people(words)
    yield from _credentials(person, words)
    yield _calls(person, words)
    yield _entries(person, words)


def _pages(shell: Shell, words: str) -> list[Found]:
    """Return the places of the navigation whose name has a word that begins so."""
    return [
        Found(item.href, item.place.label, "", item.place.icon)
        for _, items in shell.nav
        for item in items
        if any(part.startswith(words.casefold()) for part in item.place.label.casefold().split())
    ]


def _projects(person: Person, words: str) -> Section:
    matching = projects_with(person).filter(Q(name__icontains=words) | Q(code__icontains=words))
    rows = list(matching.select_related("group").order_by("name", "pk")[: MOST + 1])
    found = [
        Found(
            reverse("projects:detail", args=[row.code]),
            row.name,
            " · ".join(filter(None, [row.code, row.group.name if row.group else "", _state(row.state)])),
            "folder",
        )
        for row in rows[:MOST]
    ]
    return Section("Projects", found, _more("projects:list", rows))


def _people(words: str) -> Section:
    people = Person.objects.filter(Q(name__icontains=words) | Q(email__icontains=words)).order_by(
        "name", "pk"
    )
    rows = list(people[: MOST + 1])
    found = [
        Found(reverse("accounts:person", args=[row.pk]), str(row), row.email, "user") for row in rows[:MOST]
    ]
    return Section("People", found, _more("accounts:people", rows))


def _credentials(person: Person, words: str) -> Iterator[Section]:
    """Yield user tokens and API keys by id or by the last characters of the secret."""
    match, is_tail = _KEY_ID.fullmatch(words), len(words) == TAIL
    if match is None:
        return
    condition = Q(tail=words) if is_tail else Q(key_id=match[1])
    tokens = tokens_visible_to(person).alias(tail=Right("hint", TAIL)).filter(condition)
    keys = keys_visible_to(person).alias(tail=Right("hint", TAIL)).filter(condition)
    for title, icon, page, listing, matching in (
        ("User tokens", "key-round", "tokens:detail", "tokens:list", tokens),
        ("API keys", "key-square", "apikeys:detail", "apikeys:list", keys),
    ):
        rows: list[Any] = list(matching.select_related("project").order_by("pk")[: MOST + 1])
        found = [
            Found(
                reverse(page, args=[row.key_id]),
                row.name or row.hint,
                f"{row.hint} · {row.project.name}",
                icon,
            )
            for row in rows[:MOST]
        ]
        yield Section(title, found, _more(listing, rows))


def _calls(person: Person, words: str) -> Section:
    """Return the calls under exactly this request id or reservation id: each gateway has its own."""
    if not can(person, policy.Right.SEE_CALLS):
        return Section("Calls", [])
    found = [
        Found(
            f"{reverse('calls:find')}?{urlencode({'q': words, 'gateway': call.entry.gateway})}",
            call.entry.request_id,
            f"{call.entry.model} · {call.entry.occurred:%Y-%m-%d %H:%M} UTC",
            "activity",
        )
        for call in calls_found(person, words)[:MOST]
    ]
    return Section("Calls", found)


def _entries(person: Person, words: str) -> Section:
    """Return the audit entry with that number."""
    number = words.removeprefix("#")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        return Section("Audit log", [])
    found = [
        Found(
            reverse("audit:entry", args=[row.seq]), f"Entry {row.seq}", row.entry.target_label, "scroll-text"
        )
        for row in entries_visible_to(person).filter(seq=int(number)).select_related("entry")
    ]
    return Section("Audit log", found)


def _state(state: str) -> str:
    return "" if state == "active" else state.capitalize()


def _more(page: str, rows: list[Any]) -> str:
    return reverse(page) if len(rows) > MOST else ""

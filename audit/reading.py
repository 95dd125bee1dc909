"""Entries as people read them: a sentence for what happened, amounts and moments in words, a diff of what changed."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from audit.actions import Action, Outcome
from audit.models import AuditEntry, AuditSeal
from portal.lib.money import NANO, currency_sign, format_money, to_nano
from portal.web import numbers

TARGETS: Mapping[str, str] = {
    "project": "Project",
    "group": "Group",
    "person": "Person",
    "user_token": "User token",
    "token_import": "Import of user tokens",
    "api_key": "API key",
    "gateway": "Gateway",
    "limit": "Limit",
    "counter": "Counter",
    "price": "Price",
    "price_book": "Price book",
    "webhook": "Webhook",
    "delivery": "Delivery",
    "organization": "Organization",
    "audit_log": "Audit log",
    "request": "Request",
    "usage": "Call",
    "approval_policy": "Second person",
    "access_review": "Access review",
    "portal": "Portal",
    "page": "Page",
    "list": "List",
}
"""What can be acted upon: kind → the word for it."""

KINDS: Mapping[str, str] = {
    "command": "Command",
    "job": "Scheduled job",
    "gateway": "Gateway",
    "system": "Portal",
}
_NAMELESS = frozenset({"organization", "price_book", "audit_log", "list"})
_AUTH: Mapping[str, str] = {"entra": "Microsoft Entra ID"}
_ALLOWED = {
    "spend": "spend",
    "requests": "requests",
    "tokens": "model tokens",
    "concurrency": "calls in flight",
}
_PRICES = frozenset({"input", "cached_input", "cache_write", "output"})
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Reader:
    """How the organization reads: its time zone (an IANA name), its currency, and the day it is."""

    zone: str
    currency: str
    today: date


@dataclass(frozen=True, slots=True)
class Change:
    """One field before and after, in words; an empty text is nothing."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the list."""

    seal: AuditSeal
    time: str
    day: str
    who: str
    who_detail: str
    what: str
    object: str
    kind: str

    @property
    def entry(self) -> AuditEntry:
        return self.seal.entry

    @property
    def seq(self) -> int:
        return self.seal.seq


@dataclass(frozen=True, slots=True)
class Told:
    """An entry as the page of its object tells it."""

    entry: AuditEntry
    who: str
    what: str
    changes: list[Change]


def told(entry: AuditEntry, reader: Reader) -> Told:
    """Return an entry as the page of its object tells it; of what the log does not keep, that it is another."""
    changes = [
        Change(change.field, "", "another") if _is_kept_out(entry.changes[name]) else change
        for name, change in zip(_changed(entry), changes_of(entry, reader), strict=True)
    ]
    return Told(entry, _who(entry)[0], sentence_of(entry, reader), changes)


def _changed(entry: AuditEntry) -> list[str]:
    return [name for name, pair in entry.changes.items() if isinstance(pair, list) and len(pair) == 2]


def _is_kept_out(pair: list[Any]) -> bool:
    return any(isinstance(each, dict) and bool(each.get("redacted")) for each in pair)


def line_of(seal: AuditSeal, reader: Reader) -> Line:
    """Return an entry as the list shows it."""
    entry = seal.entry
    local = entry.occurred.astimezone(ZoneInfo(reader.zone))
    who, detail = _who(entry)
    name = short_name(entry.target_label) or entry.target_id
    name = name[:1].upper() + name[1:] if entry.target_type in _NAMELESS else name
    return Line(
        seal,
        f"{local:%H:%M:%S}",
        _day(local.date(), reader.today),
        who,
        detail,
        sentence_of(entry, reader),
        name,
        TARGETS.get(entry.target_type, entry.target_type.replace("_", " ").capitalize()),
    )


def action_name(action: str) -> str:
    """Return the name of an action for a choice: ``limit.changed`` becomes ``Limit changed``."""
    text = action.replace(".", " ").replace("_", " ")
    return (text[:1].upper() + text[1:]).replace("Api key", "API key")


def short_name(label: str) -> str:
    """Return a label without the code or hint that follows in brackets, or the address after a name."""
    return label.partition(" (")[0].partition(" <")[0]


def auth_in_words(auth: str) -> str:
    """Return how the actor proved who it is."""
    return _AUTH.get(auth, auth) or "Not signed in"


def changes_of(entry: AuditEntry, reader: Reader) -> list[Change]:
    """Return each change of an entry in words, as the log keeps their order."""
    return [
        Change(
            name.replace("_", " "),
            *(in_words(name, value, entry, reader) for value in entry.changes[name]),
        )
        for name in _changed(entry)
    ]


def sentence_of(entry: AuditEntry, reader: Reader) -> str:
    """Return what happened, beginning with the verb; the object is said where it belongs in the sentence."""
    special = _SENTENCES.get(entry.action)
    text = special(entry, reader) if special else ""
    if not text:
        text = Action(entry.action).label if entry.action in Action.values else action_name(entry.action)
        if entry.action not in _ALONE:
            text = f"{text} {short_name(entry.target_label)}".strip()
    if entry.outcome != Outcome.SUCCESS and entry.action not in _REFUSALS:
        text = f"tried: {text}"
    return text[:1].upper() + text[1:]


_ALONE = frozenset({Action.SIGNED_IN, Action.SIGN_IN_REFUSED, Action.SIGNED_OUT})
_REFUSALS = frozenset({Action.SIGN_IN_REFUSED, Action.ACCESS_REFUSED})


def _limit(entry: AuditEntry, reader: Reader) -> str:
    if len(entry.changes) != 1:
        return ""
    [(field, (before, after))] = entry.changes.items()
    metric, _, rest = field.partition(" per ")
    window, _, model = rest.partition(" of ")
    name = _limit_name(metric, window, model)
    old, new = in_words(field, before, entry, reader), in_words(field, after, entry, reader)
    if before is None:
        return f"set {name} to {new}"
    if after is None:
        return f"removed {name}, {old}"
    verb = "changed"
    with suppress(ValueError):  # the mode changed too: the values say so
        verb = "raised" if to_nano(after) > to_nano(before) else "lowered"
    return f"{verb} {name} from {old} to {new}"


def _reached(entry: AuditEntry, reader: Reader) -> str:
    _, metric, window, model, *_ = f"{entry.target_id}||||".split("|")
    if metric not in _ALLOWED:
        return ""
    used, limit = (
        in_words(name, entry.changes.get(name, [None, None])[1], entry, reader) for name in ("used", "limit")
    )
    return f"reported {_limit_name(metric, window, model)} as reached, {used} of {limit}"


def _limit_name(metric: str, window: str, model: str) -> str:
    name = f"the limit on {_ALLOWED.get(metric, metric)}"
    name += f" a {window}" if window in ("minute", "day", "week", "month") else ""
    return f"{name} of {model}" if model else name


def _state(entry: AuditEntry, reader: Reader) -> str:
    _, after = entry.changes.get("state", (None, None))
    verb = {"paused": "paused", "archived": "archived", "active": "resumed"}.get(after or "")
    return f"{verb} {short_name(entry.target_label)}" if verb else ""


def _member(entry: AuditEntry, reader: Reader) -> str:
    if len(entry.changes) != 1:
        return ""
    [(name, (before, after))] = entry.changes.items()
    if after is None:
        return f"removed {name}, {before}, from the project"
    return f"made {name} {_article(after)}" if before is None else f"made {name}, {before}, {_article(after)}"


def _article(role: str) -> str:
    return f"an {role}" if role[:1] in "aeiou" else f"a {role}"


def _token(entry: AuditEntry, reader: Reader) -> str:
    _, person = entry.changes.get("person", (None, None))
    return f"issued a user token to {person}" if person else ""


def _admitted(entry: AuditEntry, reader: Reader) -> str:
    before, after = entry.changes.get("group", (None, None))
    return (
        f"gave the group {after} access"
        if after
        else f"took the access of the group {before}"
        if before
        else ""
    )


_SENTENCES: Mapping[str, Callable[[AuditEntry, Reader], str]] = {
    Action.LIMIT_CREATED: _limit,
    Action.LIMIT_CHANGED: _limit,
    Action.LIMIT_REMOVED: _limit,
    Action.LIMIT_REACHED: _reached,
    Action.PROJECT_STATE_CHANGED: _state,
    Action.MEMBER_ADDED: _member,
    Action.MEMBER_CHANGED: _member,
    Action.MEMBER_REMOVED: _member,
    Action.TOKEN_ISSUED: _token,
    Action.GROUP_ADMITTED: _admitted,
    Action.GROUP_EXCLUDED: _admitted,
}


def _who(entry: AuditEntry) -> tuple[str, str]:
    if entry.actor_type != "user":
        name = entry.actor_display.partition(":")[2] or entry.actor_display
        return name.replace("_", " "), KINDS.get(entry.actor_type, entry.actor_type)
    name, _, rest = entry.actor_display.partition(" <")
    return name, rest.rstrip(">")


def _day(day: date, today: date) -> str:
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return f"{day.day} {day:%b}" if day.year == today.year else f"{day.day} {day:%b %Y}"


def in_words(field: str, value: Any, entry: AuditEntry, reader: Reader) -> str:
    """Return a value of a change: money with its sign, moments in the organization's zone, nothing as empty."""
    if value is None or value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(in_words(field, each, entry, reader) or NOTHING for each in value)
    if isinstance(value, dict):
        if value.get("redacted"):
            return f"not kept (fingerprint {value.get('fp', '')})"
        return ", ".join(f"{name} {in_words(name, each, entry, reader)}" for name, each in value.items())
    if _is_nano(field, entry) and isinstance(value, int):
        return format_money(value, reader.currency)
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    if field.startswith("spend"):
        return _money(text, reader)
    if field.partition(" ")[0] in _ALLOWED:
        number, _, rest = text.partition(" ")
        return f"{int(number):,} {rest}".strip() if number.isdecimal() else text
    if field in _PRICES and entry.target_type == "price":
        return f"{currency_sign(reader.currency)}{text.rstrip('0').rstrip('.') if '.' in text else text}"
    moment = _moment(text)
    return numbers.exact(moment, reader.zone) if moment else text


def _is_nano(field: str, entry: AuditEntry) -> bool:
    """Tell whether a whole number is an amount in nano-units: the counters of spend say so in their name."""
    if entry.target_type == "usage":
        return field == "spend"
    return field in ("settled", "used", "limit") and "|spend|" in entry.target_id


def _money(text: str, reader: Reader) -> str:
    amount, _, rest = text.partition(" ")
    try:
        nano = to_nano(amount)
    except ValueError:
        return text
    shown = format_money(nano, reader.currency, 0 if nano % NANO == 0 else 2)
    return f"{shown} {rest}".strip()


def _moment(text: str) -> datetime | None:
    if len(text) < 19 or text[10:11] != "T":
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None

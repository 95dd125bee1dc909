"""The rules of the decision in Python, word for word those of functions.lua: checks, limits that apply, room.

Pure: what Postgres says goes in as plain values. Amounts are Python's integers, so nothing needs to be split.
"""

import hmac
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from portal.decision.decide import BASE, Row
from portal.spend import scopes
from portal.spend.settled import matches


@dataclass(frozen=True, slots=True)
class Who:
    """To whom a call counts."""

    group: int
    project: int
    person: int
    draws_on: int
    credential: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit that applies to a call: ``scope`` is whose counter it uses, ``set_on`` where it was set."""

    scope: str
    set_on: str
    label: str
    metric: str
    window: str
    pattern: str
    is_enforced: bool
    amount: int

    @property
    def key(self) -> str:
        """The name of its counter, as in Valkey."""
        return f"k:{self.scope}|{self.metric}|{self.window}|{self.pattern}"


@dataclass(frozen=True, slots=True)
class Used:
    """What a counter says: settled and reserved; of a sliding minute this one and the one before."""

    settled: int = 0
    reserved: int = 0
    this: int = 0
    previous: int = 0


def listed(patterns: Iterable[str] | None, model: str) -> bool:
    """Whether a list of models, if there is one, has the model."""
    return patterns is None or not model or any(matches(pattern, model) for pattern in patterns)


def digest_matches(pepper: int, digest: str, digests: Mapping[int, bytes]) -> bool:
    """Whether a stored HMAC is the secret's under its pepper."""
    found = digests.get(pepper)
    return found is not None and hmac.compare_digest(found.hex(), digest)


def secret_matches(data: Mapping[str, Any], digests: Mapping[int, bytes], now: int) -> bool:
    """Whether it is the credential's secret, or the one before within its overlap."""
    if digest_matches(data["pepper"], data["digest"], digests):
        return True
    previous = data.get("previous")
    if not previous:
        return False
    return now < previous[2] * 1000 and digest_matches(previous[0], previous[1], digests)


def address_allowed(networks: list[str] | None, bits: str) -> bool:
    """Whether an address, in bits, lies in one of the networks, if there are any."""
    return networks is None or any(bits.startswith(network) for network in networks if bits)


def named_user(data: Mapping[str, Any], users: Mapping[str, list[Any]], user: str) -> tuple[int, str] | None:
    """Return the person and the display name the call is made for; None when it names somebody unknown."""
    if not data.get("names_users") or not user:
        return data["person"] or 0, data["user"] or ""
    named = users.get(user)
    return (named[0], named[1]) if named else None


def refusal(
    data: Mapping[str, Any],
    project: Mapping[str, Any] | None,
    *,
    model: str,
    is_priced: bool,
    bits: str,
    now: int,
    is_named: bool,
) -> str | None:
    """Return the code of the first check before limits that fails, in the order of the contract."""
    if data["state"] != "active":
        return f"credential_{data['state']}"
    if data["expires"] and data["expires"] * 1000 <= now:
        return "credential_expired"
    if (data.get("not_before") or 0) * 1000 > now:
        return "credential_suspended"
    if not data["is_member"] or not is_named:
        return "not_a_member"
    if not address_allowed(data["networks"], bits):
        return "address_not_allowed"
    if project is None or project["state"] != "active":
        return "project_inactive"
    if not listed(project["models"], model) or not listed(data["models"], model):
        return "model_not_allowed"
    return None if is_priced else "model_unpriced"


def scopes_of(who: Who) -> list[tuple[str, str]]:
    """Return (where limits may be set, whose counter they use); a named user comes before each user."""
    found = [(scopes.ORGANIZATION, scopes.ORGANIZATION)]
    if who.group:
        found.append((scopes.group(who.group),) * 2)
    found.append((scopes.project(who.project),) * 2)
    if who.draws_on:
        found.append((scopes.project_group(who.project, who.draws_on),) * 2)
    if who.person:
        in_project, anywhere = scopes.project_user(who.project, who.person), scopes.user(who.person)
        found += [(in_project, in_project), (scopes.project_each_user(who.project), in_project)]
        found += [(anywhere, anywhere), (scopes.EACH_USER, anywhere)]
    return [*found, (scopes.credential(who.credential),) * 2]


def gather(who: Who, model: str, sets: Mapping[str, Mapping[str, Any]]) -> list[Bound]:
    """Return the limits that apply. A row that names a user replaces the general one on the same counter."""
    found: dict[str, Bound] = {}
    for set_on, scope in scopes_of(who):
        data = sets.get(f"l:{set_on}")
        for metric, window, pattern, mode, hi, lo in data["limits"] if data else []:
            if matches(pattern, model) or not model:
                limit = Bound(
                    scope, set_on, data["label"] if data else "", metric, window, pattern,
                    mode == "enforce", hi * BASE + lo,
                )  # fmt: skip
                found.setdefault(limit.key, limit)
    return list(found.values())


def asked(metric: str, spend: int, tokens: int) -> int:
    """Return how much of the metric a call asks for."""
    return {"spend": spend, "tokens": tokens}.get(metric, 1)


def row(limit: Bound, used: Used, want: int, now: int, ends: Mapping[str, int]) -> Row:
    """Return the limit with its numbers and whether it has room for what is wanted."""
    settled, reserved, resets = used.settled, used.reserved, ends.get(limit.window, 0)
    has_room = settled + reserved + want <= limit.amount
    if limit.window == "minute":
        start = now // 60000 * 60
        settled = used.this + math.ceil(used.previous * (60000 - (now - start * 1000)) / 60000)
        has_room = settled + want <= limit.amount
        resets = start + 60
        if not has_room and want <= limit.amount:
            resets = _minute_resets(limit.amount - want, used, start, now)
    elif limit.window == "none":
        settled, resets = 0, 0
    return Row(
        limit.scope, limit.metric, limit.window, limit.pattern, limit.label, limit.amount, settled, reserved,
        want, resets, has_room, limit.is_enforced, limit.set_on,
    )  # fmt: skip


def _minute_resets(spare: int, used: Used, start: int, now: int) -> int:
    """Return the second at which a sliding minute will have room, if nothing else is used."""
    if used.this <= spare:
        at = start + 60 * (1 - (spare - used.this) / used.previous)
    else:
        at = start + 60 + 60 * (1 - spare / used.this)
    return math.ceil(max(at, (now + 1) / 1000))

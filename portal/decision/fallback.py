"""Postgres decides, by the same rules, while Valkey cannot: one transaction for each call, slower and exact."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import IntegrityError, OperationalError, connection

from portal.credentials import digests
from portal.decision import (
    configuration,
    decide,
    epoch,
    estimate,
    fallback_rules,
    fallback_store,
    last_use,
    reservation,
)
from portal.decision.configuration import Configuration
from portal.decision.decide import BASE, Allowed, Call, Explanation, Refused, Row
from portal.decision.fallback_rules import Bound, Who
from portal.decision.models import FallbackReservation, Subject
from portal.lib import secrets, windows
from portal.lib.errors import Unavailable
from portal.lib.uuid7 import uuid7

State = FallbackReservation.State

# A decision that takes longer is no use to anybody.
_STATEMENT_MS, _LOCK_MS = 250, 100
BY_POSTGRES = (epoch.State.POSTGRES, epoch.State.RETURNING)

_config: Configuration | None = None


class NotDeciding(Unavailable):
    """Postgres does not decide at the moment."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and what is to be kept of a refusal (as the function in Valkey logs it)."""

    answer: Allowed | Refused
    refusal: dict[str, Any] | None = None


@dataclass(slots=True)
class _Facts:
    """What Postgres says of a call."""

    now: int
    config: Configuration
    subjects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def load(self, *keys: str) -> None:
        self.subjects |= dict(Subject.objects.filter(key__in=keys).values_list("key", "data"))


@contextmanager
def deciding() -> Iterator[None]:
    """Hold the decider still for one transaction; raise NotDeciding unless Postgres decides, and never wait long."""
    try:
        with epoch.locked(exclusive=False, wait_ms=_LOCK_MS) as decider:
            if decider.state not in BY_POSTGRES:
                raise NotDeciding("Postgres does not decide")
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{_STATEMENT_MS}ms"])
            yield
    except OperationalError as error:
        raise Unavailable(f"Postgres is too busy to decide: {error}") from error


def _facts(now_ms: int | None) -> _Facts:
    global _config
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,"
            " (SELECT version FROM decision_subject WHERE key = 'cfg')"
        )
        now, version = cursor.fetchone()
    held = _config
    if held is None or held.version != version:
        row = Subject.objects.get(pk="cfg")
        held = _config = configuration.parse(row.version, json.dumps(row.data))
    return _Facts(now_ms or now, held)


def authorize(gateway_secret: str, call: Call, *, now_ms: int | None = None) -> Decision:
    """Decide one call and reserve for it; raise Unavailable when Postgres does not decide, or not in time."""
    for last in (False, True):
        try:
            with deciding():
                return decide_call(gateway_secret, call, now_ms=now_ms)
        except IntegrityError:
            # The same request id was authorized at the same moment: that one is found now.
            if last:
                raise
    raise Unavailable("Postgres cannot decide")


def decide_call(gateway_secret: str, call: Call, *, now_ms: int | None = None) -> Decision:
    """Decide within the caller's transaction."""
    gateway, credential = secrets.parse(gateway_secret), secrets.parse(call.credential)
    if gateway is None or gateway.kind != "gateway":
        return Decision(Refused("gateway_unknown"))
    key_id = credential.key_id if credential and credential.kind != "gateway" else ""
    facts = _facts(now_ms)
    facts.load(f"w:{gateway.key_id}", f"s:{key_id}")
    if not _gateway_known(facts, gateway.key_id, gateway_secret):
        return Decision(Refused("gateway_unknown"))
    decision_id = uuid7()
    model = facts.config.model(call.model)
    price = facts.config.price(model, facts.now)
    amount = price and estimate.ceiling(
        price,
        input_tokens=call.input_tokens,
        input_bytes=call.input_bytes,
        max_output_tokens=call.max_output_tokens,
        n=call.n,
    )
    spend, tokens = (amount.spend, amount.tokens) if amount else (0, 0)
    person, user, code = _check(
        facts, key_id, model,
        secret=call.credential, is_priced=bool(price and amount), address=call.client_ip, user=call.user,
    )  # fmt: skip
    data = facts.subjects.get(f"s:{key_id}") if code != "credential_unknown" else None
    project = facts.subjects.get(f"p:{data['project']}") if data else None
    if data is not None:
        # As Valkey notes it: whoever knows the secret uses it, whether or not the call is admitted.
        is_current = fallback_rules.digest_matches(
            data["pepper"], data["digest"], digests.digests(call.credential)
        )
        name = key_id if is_current else f"{key_id}~"
        last_use.hear(name, facts.now // 1000, gateway.key_id, call.client_ip or "")
    if code is None and data and not _serves(facts.subjects[f"w:{gateway.key_id}"], data["project"]):
        code = "project_inactive"
    group = (project or {}).get("group") or 0
    item: dict[str, Any] = {
        "id": str(decision_id), "at": facts.now, "gateway": gateway.key_id, "request": call.request_id,
        "credential": key_id if data else "", "model": model, "project": data["project"] if data else 0,
        "group": group, "person": person, "hi": spend // BASE, "lo": spend % BASE,
    }  # fmt: skip
    if code is not None or data is None or project is None or price is None:
        return Decision(Refused(str(code), str(decision_id)), {**item, "code": code})
    who = Who(group, data["project"], person, data["draws_on"] or 0, key_id)
    request = reservation.request_hash(call.request_id)
    key = reservation.record_key(gateway.key_id, request)
    wanted = FallbackReservation(
        key=key, state=State.OPEN, fingerprint=decide.fingerprint(call, key_id, model), moment=facts.now,
        expires=fallback_store.expiry(facts.now), group=group, project=who.project, person=person,
        draws_on=who.draws_on, credential=key_id, model=model, price=price.id, spend=spend, tokens=tokens,
        request_id=call.request_id, gateway=gateway.key_id,
    )  # fmt: skip
    old = fallback_store.find(key)
    if old is not None or fallback_store.is_booked(gateway.key_id, call.request_id):
        is_same = (
            old is not None
            and (old.state, old.fingerprint) == (State.OPEN, wanted.fingerprint)
            and old.expires > facts.now
        )
        if old is None or not is_same:
            return Decision(Refused("request_id_reused", str(decision_id)))
        before = Who(old.group, old.project, old.person, old.draws_on, old.credential)
        rows = _report(facts, _gather(facts, before, old.model), None)
        return Decision(_allowed(old, request, project["code"], user, rows))
    limits = _gather(facts, who, model)
    fallback_store.lock(limits)
    rows = _report(facts, limits, (spend, tokens))
    failed = any(row.failed for row in rows)
    kept = None
    if failed or not all(row.has_room for row in rows):
        kept = {
            **item,
            "code": "limit_exceeded",
            "observed": not failed,
            "checks": [_packed(r) for r in rows],
        }
    if failed:
        refused = Refused(
            "limit_exceeded", str(decision_id), facts.now, tuple(rows), project["name"], project["code"]
        )
        return Decision(refused, kept)
    wanted.save(force_insert=True)
    rows = [replace(row, reserved=row.reserved + row.requested) for row in rows]
    return Decision(_allowed(wanted, request, project["code"], user, rows), kept)


def explain(
    key_id: str,
    *,
    model: str = "",
    secret: str = "",
    input_tokens: int = 0,
    max_output_tokens: int | None = 0,
    client_ip: str | None = None,
) -> Explanation:
    """Say what would decide a call, as `portal.decision.decide.explain` does."""
    with deciding():
        facts = _facts(None)
        facts.load(f"s:{key_id}")
        name = facts.config.model(model)
        price = facts.config.price(name, facts.now)
        amount = price and estimate.ceiling(
            price, input_tokens=input_tokens, input_bytes=None, max_output_tokens=max_output_tokens, n=1
        )
        person, user, code = _check(
            facts,
            key_id,
            name,
            secret=secret,
            is_priced=bool(amount) or not model,
            address=client_ip,
            user=None,
        )
        if code == "credential_unknown":
            return Explanation(code, facts.now, [], "", "", 0)
        data = facts.subjects[f"s:{key_id}"]
        project = facts.subjects.get(f"p:{data['project']}") or {}
        who = Who(project.get("group") or 0, data["project"], person, data["draws_on"] or 0, key_id)
        spend, tokens = (amount.spend, amount.tokens) if amount else (0, 0)
        rows = _report(facts, _gather(facts, who, name), (spend, tokens))
        if code is None and any(row.failed for row in rows):
            code = "limit_exceeded"
        return Explanation(code or "allow", facts.now, rows, project.get("code", ""), user, spend)


def release(held: reservation.Reservation) -> None:
    """Give a reservation back; one that Valkey made is noted, so that Valkey gives it back when it returns."""
    with deciding():
        row = fallback_store.find(held.key)
        if row is None:
            model = _facts(None).config.by_id.get(held.price)
            if model is not None:
                fallback_store.of_id(held, model.model, State.RELEASED, held.moment).save(force_insert=True)
        elif row.state == State.OPEN:
            row.state = State.RELEASED
            row.save(update_fields=["state"])


def release_call(key: str) -> None:
    """Give back what Postgres reserved for a call; what Valkey did runs out there."""
    with deciding():
        row = fallback_store.find(key)
        if row is not None and row.state == State.OPEN:
            row.state = State.RELEASED
            row.save(update_fields=["state"])


def extend(held: reservation.Reservation, *, now_ms: int | None = None) -> int | None:
    """Renew a reservation, also one that Valkey made; None when it is settled, released or expired."""
    with deciding():
        return extend_here(held, now_ms=now_ms)


def end(held: reservation.Reservation) -> None:
    """Let a reservation, also one that Valkey made, run out now."""
    with deciding():
        extend_here(held, is_over=True)


def extend_here(
    held: reservation.Reservation, *, now_ms: int | None = None, is_over: bool = False
) -> int | None:
    """Renew a reservation, or let it run out now, within the caller's transaction."""
    facts = _facts(now_ms)
    row = fallback_store.find(held.key)
    expires = facts.now if is_over else fallback_store.expiry(facts.now)
    if row is None:
        price = facts.config.by_id.get(held.price)
        # Whether it was renewed before is known to Valkey alone: what is not booked counts as open.
        if price is None or held.moment < facts.now - 86_400_000 or fallback_store.is_booked_at(held):
            return None
        fallback_store.of_id(held, price.model, State.OPEN, expires).save(force_insert=True)
        return expires
    if row.state != State.OPEN or row.expires <= facts.now:
        return None
    row.expires = expires
    row.save(update_fields=["expires"])
    return expires


def _gateway_known(facts: _Facts, key_id: str, secret: str) -> bool:
    data = facts.subjects.get(f"w:{key_id}")
    return (
        data is not None
        and data["state"] == "active"
        and fallback_rules.digest_matches(data["pepper"], data["digest"], digests.digests(secret))
    )


def _serves(gateway: dict[str, Any], project: int) -> bool:
    return gateway["projects"] is None or project in gateway["projects"]


def _check(
    facts: _Facts,
    key_id: str,
    model: str,
    *,
    secret: str,
    is_priced: bool,
    address: str | None,
    user: str | None,
) -> tuple[int, str, str | None]:
    """Return the person and the display name the call counts for, and the code of the first check that fails."""
    data = facts.subjects.get(f"s:{key_id}")
    if data is None or (
        secret and not fallback_rules.secret_matches(data, digests.digests(secret), facts.now)
    ):
        return 0, "", "credential_unknown"
    facts.load(f"p:{data['project']}", f"n:{data['project']}")
    users = facts.subjects.get(f"n:{data['project']}", {}).get("users", {})
    named = fallback_rules.named_user(data, users, decide.user_key(user or ""))
    code = fallback_rules.refusal(
        data,
        facts.subjects.get(f"p:{data['project']}"),
        model=model,
        is_priced=is_priced,
        bits=decide.address_bits(address),
        now=facts.now,
        is_named=named is not None,
    )
    person, name = named or (data["person"] or 0, data["user"] or "")
    return person, name, code


def _gather(facts: _Facts, who: Who, model: str) -> list[Bound]:
    facts.load(*(f"l:{set_on}" for set_on, _ in fallback_rules.scopes_of(who)))
    return fallback_rules.gather(who, model, facts.subjects)


def _report(facts: _Facts, limits: list[Bound], amount: tuple[int, int] | None) -> list[Row]:
    """Return the limits with their numbers for a call of so much (spend, tokens), or for none."""
    current = {window.kind: window for window in windows.windows_at(facts.now / 1000, facts.config.zone)}
    ends = {kind: window.end for kind, window in current.items()}
    return [
        fallback_rules.row(
            limit, used, fallback_rules.asked(limit.metric, *amount) if amount else 0, facts.now, ends
        )
        for limit, used in zip(limits, fallback_store.used(limits, facts.now, current), strict=True)
    ]


def _allowed(row: FallbackReservation, request: bytes, code: str, user: str, rows: list[Row]) -> Allowed:
    held = reservation.Reservation(
        row.moment, row.project, row.group, row.person, row.draws_on, row.price, row.spend, row.tokens,
        row.credential, row.gateway, request,
    )  # fmt: skip
    return Allowed(reservation.encode(held), row.expires, row.spend, code, user, row.credential, rows)


def _packed(row: Row) -> list[Any]:
    """Return a limit as the function in Valkey reports it."""
    return [
        row.scope, row.metric, row.window, row.model, row.label, *divmod(row.limit, BASE),
        *divmod(row.settled, BASE), *divmod(row.reserved, BASE), *divmod(row.requested, BASE), row.resets,
        int(row.has_room), int(row.is_enforced), row.set_on,
    ]  # fmt: skip

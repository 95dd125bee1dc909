"""What calls really used: attribute, price, commit, then count in Valkey – each event once, whoever repeats it."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from portal.decision import configuration, decide, epoch, fallback_store, reservation, valkey
from portal.decision.configuration import Configuration
from portal.decision.models import Subject
from portal.decision.reservation import Reservation
from portal.lib import windows
from portal.lib.errors import Unavailable
from portal.lib.money import MAX_NANO
from portal.lib.uuid7 import uuid7
from portal.spend import inbox
from portal.spend.inbox import Entry, Stored
from portal.spend.pricing import ModelPrice

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """What a gateway reports of one call, already checked for form. ``cost`` is its own figure, in nano-units."""

    index: int
    request_id: str
    model: str
    occurred: datetime
    input_tokens: int
    output_tokens: int
    status: str
    reservation_id: str | None = None
    credential_id: str | None = None
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that cannot be booked, and why."""

    index: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a batch, and by how much the gateway's clock is off at least, as far as its events tell.

    ``skew_ms`` is positive for a clock that is ahead, negative for one that is behind; 0 says nothing.
    """

    accepted: int
    duplicates: int
    rejected: list[Rejected]
    skew_ms: int = 0


@dataclass(frozen=True, slots=True)
class Attribution:
    """To whom a call belongs and which price holds; ``moment`` in milliseconds decides its windows."""

    moment: int
    project: int
    group: int
    person: int
    draws_on: int
    credential: str
    price: ModelPrice | None
    reserved: int | None
    expires: int | None


def record(gateway: str, events: Sequence[Event], now_ms: int) -> Report:
    """Book a batch of usage for the gateway; when this returns, Postgres has committed it.

    ``now_ms`` is the server's time. Raise Unavailable (or a database error) when nothing was acknowledged.
    """
    config = configuration.best()
    keys = [(gateway, event.request_id) for event in events]
    settled = inbox.known(keys)
    rejected: list[Rejected] = []
    entries: dict[str, Entry] = {}
    repeated = [event.request_id for event in events if (gateway, event.request_id) in settled]
    duplicates = len(repeated)
    open_events = [event for event in events if (gateway, event.request_id) not in settled]
    found = _attribute(gateway, open_events, config, now_ms)
    for event in open_events:
        if event.request_id in entries:
            duplicates += 1
            continue
        who = found[event.index]
        booked = who if isinstance(who, Rejected) else _entry(gateway, event, who, config, now_ms)
        if isinstance(booked, Rejected):
            rejected.append(booked)
        else:
            entries[event.request_id] = booked
    with transaction.atomic():
        stored = inbox.add_settlements(list(entries.values()))
        fallback_store.settle(stored)
        fallback_store.close((gateway, request_id) for request_id in repeated)
    accepted = sum(1 for row in stored if row.entry.kind == "settle")
    duplicates += len(entries) - accepted
    try:
        count(stored, config)
        close([(gateway, request_id) for request_id in repeated], config)
    except Unavailable as error:
        # Committed is committed: the job that moves the inbox counts it.
        log.warning("usage is committed, counting waits: %s", error)
    return Report(accepted, duplicates, rejected, _skew(open_events, found, now_ms))


def _skew(events: Sequence[Event], found: dict[int, Attribution | Rejected], now_ms: int) -> int:
    """Return by how much the clock that dated the events is off at least.

    Usage may come late, so its age says nothing. But no call ends after it was reported, nor before it was admitted;
    both of these moments are by the server's clock.
    """
    skew = 0
    for event in events:
        occurred, who = int(event.occurred.timestamp() * 1000), found[event.index]
        off = max(0, occurred - now_ms)
        if isinstance(who, Attribution) and who.expires is not None:
            off = off or min(0, occurred - who.moment)
        skew = max(skew, off, key=abs)
    return skew


def close(keys: Sequence[tuple[str, str]], config: Configuration) -> None:
    """Give back what is still reserved for calls (gateway, request id) that have been booked.

    First what is booked is counted, if nobody has yet: in between it would count nowhere. What has left the inbox is
    counted. A call may have been reserved again after Valkey had lost its tombstone.
    """
    count(inbox.waiting_for(keys), config)
    for gateway, request_id in keys:
        key = reservation.record_key(gateway, reservation.request_hash(request_id))
        valkey.call("release", key, settings.TOMBSTONE_SECONDS)


def count(rows: Sequence[Stored], config: Configuration) -> None:
    """Count committed rows in Valkey, each once however often this is called."""
    for start in range(0, len(rows), 500):
        part = [_settle_argument(row, config) for row in rows[start : start + 500]]
        decide.ask("settle", settings.TOMBSTONE_SECONDS, *part)


def _settle_argument(row: Stored, config: Configuration) -> str:
    entry = row.entry
    moment = entry.moment.timestamp()
    key = reservation.record_key(entry.gateway, reservation.request_hash(entry.request_id))
    closes = key if entry.kind in ("settle", "estimate") else ""
    return json.dumps(
        [
            row.seq,
            row.xid,
            closes,
            int(moment),
            *divmod(entry.spend, decide.BASE),
            entry.calls,
            *divmod(entry.input_tokens + entry.output_tokens, decide.BASE),
            entry.group_id or 0,
            entry.project,
            entry.person or 0,
            entry.draws_on or 0,
            entry.credential,
            entry.model,
            *(window.start for window in windows.windows_at(moment, config.zone)),
        ]
    )


def _attribute(
    gateway: str, events: Sequence[Event], config: Configuration, now_ms: int
) -> dict[int, Attribution | Rejected]:
    """Attribute by the reservation, else by this gateway's authorization of the request, else by the credential."""
    result: dict[int, Attribution | Rejected] = {}
    by_request: list[Event] = []
    renewed: dict[int, Attribution] = {}
    for event in events:
        if event.reservation_id is None:
            by_request.append(event)
            continue
        held = reservation.decode(event.reservation_id)
        if held is None or held.gateway != gateway:
            result[event.index] = Rejected(event.index, "not_found", "This gateway has no such reservation.")
        elif held.request != reservation.request_hash(event.request_id):
            result[event.index] = Rejected(
                event.index, "not_found", "The reservation belongs to another request id."
            )
        else:
            found = result[event.index] = _of_reservation(held, config)
            if found.expires is not None and found.expires < now_ms:
                renewed[event.index] = found
    result |= _renewed(gateway, {event.index: event for event in events}, renewed)
    known, is_all = _look_up(gateway, [event.request_id for event in by_request])
    # The functions forget a call an hour after it has ended; an estimate remembers it for good.
    estimates = inbox.estimated(
        [(gateway, event.request_id) for event in by_request if event.request_id not in known]
    )
    by_credential: list[Event] = []
    for event in by_request:
        record, estimate = known.get(event.request_id), estimates.get(event.request_id)
        if record is not None:
            result[event.index] = record_attribution(record, config)
        elif estimate is not None:
            result[event.index] = _of_estimate(estimate, config)
        elif event.credential_id is not None:
            by_credential.append(event)
        elif not is_all:
            raise Unavailable("only Valkey may know whose call it was")
        else:
            result[event.index] = _unattributed(event)
    if by_credential:
        result |= _of_credentials(by_credential)
    return result


def _unattributed(event: Event) -> Rejected:
    return Rejected(
        event.index,
        "unattributed",
        "Name the reservation, or the credential if the call was never authorized.",
    )


def _of_reservation(held: Reservation, config: Configuration) -> Attribution:
    return Attribution(
        held.moment,
        held.project,
        held.group,
        held.person,
        held.draws_on,
        held.credential,
        config.by_id.get(held.price),
        held.amount,
        held.moment + settings.RESERVATION_SECONDS * 1000,
    )


def _renewed(gateway: str, events: dict[int, Event], found: dict[int, Attribution]) -> dict[int, Attribution]:
    """Return the attributions with the moment until which they were renewed; the id only tells the first one."""
    try:
        known, _ = _look_up(gateway, [events[index].request_id for index in found])
    except Unavailable:
        return {}
    return {
        index: replace(who, expires=known[events[index].request_id][11])
        for index, who in found.items()
        if events[index].request_id in known
    }


def _of_estimate(estimate: Entry, config: Configuration) -> Attribution:
    return Attribution(
        int(estimate.moment.timestamp() * 1000),
        estimate.project,
        estimate.group_id or 0,
        estimate.person or 0,
        estimate.draws_on or 0,
        estimate.credential,
        config.by_id.get(estimate.price_id or 0),
        estimate.reserved,
        int(estimate.occurred.timestamp() * 1000),
    )


def record_attribution(record: list[Any], config: Configuration) -> Attribution:
    """Return the attribution from the record the function keeps of an authorization."""
    _, moment, group, project, person, draws, credential, _, price, hi, lo, expires = record
    return Attribution(
        moment,
        project,
        group,
        person,
        draws,
        credential.decode(),
        config.by_id.get(price),
        hi * decide.BASE + lo,
        expires,
    )


def _look_up(gateway: str, request_ids: Sequence[str]) -> tuple[dict[str, list[Any]], bool]:
    """Return what is known of authorizations by request id, and whether that is all: Postgres knows only its own."""
    if not request_ids:
        return {}, True
    keys = [
        reservation.record_key(gateway, reservation.request_hash(request_id)) for request_id in request_ids
    ]
    try:
        answer = decide.ask("lookup", *keys)
    except Unavailable:
        if epoch.current().state == epoch.State.VALKEY:
            raise
        return fallback_store.lookup(gateway, request_ids), False
    return {request_id: row for request_id, row in zip(request_ids, answer[1:], strict=True) if row}, True


def _of_credentials(events: Sequence[Event]) -> dict[int, Attribution | Rejected]:
    wanted = {f"s:{event.credential_id}" for event in events}
    credentials = {row.key: row.data for row in Subject.objects.filter(key__in=wanted)}
    projects = {
        row.key: row.data
        for row in Subject.objects.filter(key__in={f"p:{data['project']}" for data in credentials.values()})
    }
    result: dict[int, Attribution | Rejected] = {}
    for event in events:
        data = credentials.get(f"s:{event.credential_id}")
        if data is None:
            result[event.index] = _unattributed(event)
            continue
        project = projects.get(f"p:{data['project']}", {})
        result[event.index] = Attribution(
            int(event.occurred.timestamp() * 1000),
            data["project"],
            project.get("group") or 0,
            data["person"] or 0,
            data["draws_on"] or 0,
            event.credential_id or "",
            None,
            None,
            None,
        )
    return result


def _entry(
    gateway: str, event: Event, who: Attribution, config: Configuration, now_ms: int
) -> Entry | Rejected:
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    if event.occurred > now + timedelta(minutes=5):
        return Rejected(
            event.index, "in_future", "It lies more than five minutes in the future; check the clock."
        )
    # A call cannot belong to a window that has not begun.
    moment_ms = min(who.moment, now_ms)
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    if moment < now - timedelta(days=settings.RESTATEMENT_DAYS):
        return Rejected(
            event.index, "too_old", f"It is more than {settings.RESTATEMENT_DAYS} days old and is not booked."
        )
    model = config.model(event.model)
    # What was used was used: usage older than the model's first price costs that.
    price = config.price(model, moment_ms) or config.first_price(model) or who.price
    if who.price is not None and who.price.model == model:
        price = who.price
    if price is None:
        return Rejected(
            event.index, "model_unpriced", "The model has no price, and nothing was reserved for it."
        )
    spend = price.cost(
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        cached_input_tokens=event.cached_input_tokens,
        cache_write_tokens=event.cache_write_tokens,
    )
    if spend > MAX_NANO:
        return Rejected(event.index, "invalid", "It would cost more than an amount can be.")
    day = windows.local_day(moment_ms / 1000, config.zone)
    return Entry(
        id=uuid7(),
        moment=moment,
        day=day,
        kind="settle",
        refers_to=None,
        gateway=gateway,
        request_id=event.request_id,
        credential=who.credential,
        project=who.project,
        group_id=who.group or None,
        person=who.person or None,
        draws_on=who.draws_on or None,
        model=price.model,
        price_id=price.id,
        status=event.status,
        calls=1,
        input_tokens=event.input_tokens,
        cached_input_tokens=event.cached_input_tokens,
        cache_write_tokens=event.cache_write_tokens,
        output_tokens=event.output_tokens,
        reasoning_tokens=event.reasoning_tokens,
        spend=spend,
        reserved=who.reserved,
        gateway_cost=event.cost,
        is_late=who.expires is not None and now_ms > who.expires,
        is_restated=who.expires is None and day < windows.local_day(now_ms / 1000, config.zone),
        occurred=event.occurred,
        arrived=now,
    )

"""May this call go ahead? The Python side of the decision: prepares one call of the function in Valkey and reads it."""

import hashlib
import ipaddress
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgpack
from django.conf import settings

from portal.credentials import digests
from portal.decision import configuration, estimate, rebuild, reservation, valkey
from portal.decision.configuration import Configuration
from portal.lib import secrets, windows
from portal.lib.errors import Unavailable
from portal.lib.uuid7 import uuid7
from portal.spend.pricing import ModelPrice

BASE = 10**9
# Price id, spend hi and lo, tokens hi and lo.
_AMOUNTS = struct.Struct("<5d")
_HEAD = struct.Struct("<11d")
_NUMBERS = struct.Struct("<6d")


@dataclass(frozen=True, slots=True)
class Row:
    """One limit that applies to a call, with its numbers at the moment of the decision.

    Amounts are nano-units for spend, else counts. ``resets`` is in seconds since 1970; 0 = never (concurrency).
    """

    scope: str
    metric: str
    window: str
    model: str
    label: str
    limit: int
    settled: int
    reserved: int
    requested: int
    resets: int
    has_room: bool
    is_enforced: bool
    set_on: str

    @property
    def used(self) -> int:
        return self.settled + self.reserved

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def failed(self) -> bool:
        return self.is_enforced and not self.has_room


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call may go ahead; so much is reserved for it."""

    reservation_id: str
    expires: int  # milliseconds
    spend: int
    project: str
    user: str
    credential: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Refused:
    """The call may not go ahead."""

    code: str
    decision_id: str = ""
    now: int = 0  # milliseconds
    rows: tuple[Row, ...] = ()
    project_name: str = ""
    project: str = ""

    @property
    def binding(self) -> Row:
        """Of the limits that failed, the one that resets last; calls in flight never reset and come last."""
        return max((row for row in self.rows if row.failed), key=lambda row: row.resets)


@dataclass(frozen=True, slots=True)
class Call:
    """What a gateway asks about, already checked for form."""

    credential: str
    model: str
    request_id: str
    input_tokens: int | None = None
    input_bytes: int | None = None
    max_output_tokens: int | None = None
    n: int = 1
    client_ip: str | None = None
    user: str | None = None  # an e-mail address, for keys that may name their user


def read_rows(packed: bytes) -> list[Row]:
    """Read the limits as the function reports them: one MessagePack array for each."""
    return [
        Row(
            scope,
            metric,
            window,
            model,
            label,
            limit * BASE + limit_lo,
            settled * BASE + settled_lo,
            reserved * BASE + reserved_lo,
            requested * BASE + requested_lo,
            resets,
            has_room == 1,
            is_enforced == 1,
            set_on,
        )
        for (
            scope,
            metric,
            window,
            model,
            label,
            limit,
            limit_lo,
            settled,
            settled_lo,
            reserved,
            reserved_lo,
            requested,
            requested_lo,
            resets,
            has_room,
            is_enforced,
            set_on,
        ) in msgpack.unpackb(packed)
    ]


@dataclass(frozen=True, slots=True)
class Frame:
    """What a copy of the configuration says of a moment, as the functions take it, and when its windows end."""

    text: str
    start: int  # milliseconds, half-open: while this day, week and month last
    end: int
    ends: dict[str, int]


_frames: dict[tuple[int, str, int, int], Frame] = {}


def frame_of(config: Configuration, now_ms: int) -> Frame:
    """Return the frame of a moment; the last one is kept."""
    key = (config.version, config.zone, settings.RESERVATION_SECONDS, settings.REFUSAL_STREAM_LENGTH)
    frame = _frames.get(key)
    if frame is None or not frame.start <= now_ms < frame.end:
        found = windows.windows_at(now_ms / 1000, config.zone)
        numbers = [config.version, *(edge for window in found for edge in (window.start, window.end))]
        numbers += [settings.RESERVATION_SECONDS * 1000, settings.REFUSAL_STREAM_LENGTH]
        frame = Frame(
            " ".join(map(str, numbers)),
            max(window.start for window in found) * 1000,
            min(window.end for window in found) * 1000,
            {window.kind: window.end for window in found},
        )
        _frames.clear()
        _frames[key] = frame
    return frame


@dataclass(frozen=True, slots=True)
class _Limit:
    scope: str
    metric: str
    window: str
    model: str
    label: str
    limit: int
    is_enforced: bool
    set_on: str


@lru_cache(maxsize=4096)
def _described(packed: bytes) -> tuple[str, str, tuple[_Limit, ...]]:
    """Read what calls with one credential, user and model have in common: project, user, limits."""
    project, user, rows = msgpack.unpackb(packed)
    return (
        project,
        user,
        tuple(
            _Limit(scope, metric, window, model, label, hi * BASE + lo, is_enforced, set_on)
            for scope, metric, window, model, label, hi, lo, is_enforced, set_on in rows
        ),
    )


def _standing(
    limits: Sequence[_Limit], answer: Sequence[bytes], asked: Mapping[str, int], ends: Mapping[str, int]
) -> list[Row]:
    """Return the limits of an allowed call, with what is settled and reserved now."""
    rows = []
    for number, (limit, packed) in enumerate(zip(limits, answer[4:], strict=True), start=1):
        _, settled, settled_lo, held, held_lo, resets = _NUMBERS.unpack_from(packed, len(packed) - 48)
        rows.append(
            Row(
                limit.scope,
                limit.metric,
                limit.window,
                limit.model,
                limit.label,
                limit.limit,
                int(settled) * BASE + int(settled_lo),
                int(held) * BASE + int(held_lo),
                asked.get(limit.metric, 1),
                ends.get(limit.window) or int(resets),
                number not in answer[3],
                limit.is_enforced,
                limit.set_on,
            )
        )
    return rows


def _amounts(price: ModelPrice | None, amount: estimate.Estimate | None, *, no_price: int = 0) -> bytes:
    spend, tokens = (amount.spend, amount.tokens) if amount else (0, 0)
    return _AMOUNTS.pack(
        price.id if price and amount else no_price, *divmod(spend, BASE), *divmod(tokens, BASE)
    )


def in_step(attempt: Callable[[Configuration, int], list[Any]]) -> list[Any]:
    """Call until configuration, clock and decision state agree; raise Unavailable when they cannot be brought to.

    ``attempt`` gets the configuration and the time (milliseconds) to compute windows for.
    """
    version, now = 0, int(time.time() * 1000)
    for _ in range(6):
        try:
            answer = attempt(configuration.current(version), now)
        except configuration.NotPublished:
            answer = [b"rebuild"]
        match answer[0]:
            case b"rebuild":
                rebuild.ensure_ready()
                configuration.forget()
                version = 0
            case b"config":
                configuration.forget()
                version, now = answer[1], answer[2]
            case b"clock":
                now = answer[2]
            case _:
                return answer
    raise Unavailable("the decision state keeps changing")


def ask(function: str, *arguments: Any) -> list[Any]:
    """Call a function that depends on no configuration; rebuild first if the decision state is missing."""
    return in_step(lambda _configuration, _now: valkey.call(function, *arguments))


def address_bits(address: str | None) -> str:
    """Return an address as 128 bits in text, IPv4 mapped into IPv6; nothing for none."""
    if not address:
        return ""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if parsed.version == 4:
        return format((0xFFFF << 32) | int(parsed), "0128b")
    return format(int(parsed), "0128b")


def fingerprint(call: Call, key_id: str, model: str) -> str:
    """Return what must be the same when a request id is sent again: credential, model, amounts and user."""
    parts = (key_id, model, call.input_tokens, call.input_bytes, call.max_output_tokens, call.n, call.user)
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()


def user_key(email: str) -> str:
    """Return an e-mail address as users are named by it: letters of any case are alike."""
    return email.strip().lower()


def digest_arguments(secret: str) -> tuple[str, str]:
    """Return the numbers of the live peppers and the secret's HMAC under each, as the functions take them."""
    found = digests.digests(secret)
    return ",".join(map(str, found)), "".join(value.hex() for value in found.values())


def authorize(gateway_secret: str, call: Call, *, now_ms: int | None = None) -> Allowed | Refused:
    """Decide one call and reserve for it; raise Unavailable when nobody can decide at the moment.

    ``now_ms`` replaces the server's clock in tests of time.
    """
    gateway = secrets.parse(gateway_secret)
    if gateway is None or gateway.kind != "gateway":
        return Refused("gateway_unknown")
    peppers, gateway_digests = digest_arguments(gateway_secret)
    credential = secrets.parse(call.credential)
    if credential is not None and credential.kind == "gateway":
        credential = None
    key_id = credential.key_id if credential else ""
    credential_digests = digest_arguments(call.credential)[1] if credential else ""
    request = reservation.request_hash(call.request_id)
    decision_id = uuid7()
    bits = address_bits(call.client_ip)
    ends: Mapping[str, int] = {}

    def attempt(config: Configuration, now: int) -> list[Any]:
        nonlocal ends
        now = now_ms or now
        frame = frame_of(config, now)
        ends = frame.ends
        model = config.model(call.model)
        price = config.price(model, now)
        amount = price and estimate.ceiling(
            price,
            input_tokens=call.input_tokens,
            input_bytes=call.input_bytes,
            max_output_tokens=call.max_output_tokens,
            n=call.n,
        )
        return valkey.call(
            "authorize",
            now_ms or "",
            frame.text,
            gateway.key_id,
            peppers,
            gateway_digests,
            key_id,
            credential_digests,
            reservation.record_key(gateway.key_id, request),
            call.request_id,
            fingerprint(call, key_id, model),
            model,
            _amounts(price, amount),
            bits,
            decision_id.bytes,
            call.client_ip or "",
            user_key(call.user or ""),
        )

    answer = in_step(attempt)
    if answer[0] == b"no":
        code = answer[1].decode()
        if code != "limit_exceeded":
            return Refused(code, str(decision_id))
        _, _, now, rows, name, project = answer
        return Refused(code, str(decision_id), now, tuple(read_rows(rows)), name.decode(), project.decode())
    project_code, user, limits = _described(answer[1])
    moment, expires, group, project_pk, person, draws, price_id, hi, lo, tokens_hi, tokens_lo = map(
        int, _HEAD.unpack(answer[2])
    )
    held = reservation.Reservation(
        moment,
        project_pk,
        group,
        person,
        draws,
        price_id,
        hi * BASE + lo,
        tokens_hi * BASE + tokens_lo,
        key_id,
        gateway.key_id,
        request,
    )
    return Allowed(
        reservation.encode(held),
        expires,
        held.amount,
        project_code,
        user,
        key_id,
        _standing(limits, answer, {"spend": held.amount, "tokens": held.tokens}, ends),
    )


def check_gateway(secret: str) -> tuple[str, int] | None:
    """Return the id of a known gateway and the server's time in milliseconds, or None."""
    parsed = secrets.parse(secret)
    if parsed is None or parsed.kind != "gateway":
        return None
    arguments = digest_arguments(secret)
    answer = ask("gateway", parsed.key_id, *arguments)
    if answer[0] != b"ok":
        return None
    configuration.current(answer[2])
    return parsed.key_id, answer[1]


def release(held: reservation.Reservation) -> None:
    """Give a reservation back because the call was never sent; nothing happens when it is gone."""
    ask("release", held.key, settings.TOMBSTONE_SECONDS)


def extend(held: reservation.Reservation, *, now_ms: int | None = None) -> int | None:
    """Renew a reservation; return when it expires now (milliseconds), or None when it is settled or expired."""
    answer = ask("extend", held.key, settings.RESERVATION_SECONDS * 1000, now_ms or "")
    return answer[1] if answer[0] == b"ok" else None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would decide a call: ``allow`` or the code of the first check that fails, and every limit."""

    code: str
    now: int
    rows: list[Row]
    project: str
    user: str
    spend: int


def explain(
    key_id: str,
    *,
    model: str = "",
    secret: str = "",
    input_tokens: int = 0,
    max_output_tokens: int | None = 0,
    client_ip: str | None = None,
) -> Explanation:
    """Say what would decide a call with the credential, reserving nothing. Without a secret the caller is trusted."""
    peppers, found = digest_arguments(secret) if secret else ("", "")
    spend = 0

    def attempt(config: Configuration, now: int) -> list[Any]:
        nonlocal spend
        name = config.model(model)
        price = config.price(name, now)
        amount = price and estimate.ceiling(
            price, input_tokens=input_tokens, input_bytes=None, max_output_tokens=max_output_tokens, n=1
        )
        spend = amount.spend if amount else 0
        return valkey.call(
            "explain",
            "",
            frame_of(config, now).text,
            key_id,
            peppers,
            found,
            name,
            _amounts(price, amount, no_price=0 if model else -1),
            address_bits(client_ip),
        )

    answer = in_step(attempt)
    if answer[0] == b"no":
        return Explanation(answer[1].decode(), answer[2], [], "", "", 0)
    _, code, now, rows, project, user = answer
    return Explanation(code.decode(), now, read_rows(rows), project.decode(), user.decode(), spend)

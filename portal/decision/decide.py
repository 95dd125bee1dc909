"""May this call go ahead? The Python side of the decision: prepares one call of the function in Valkey and reads it."""

import hashlib
import ipaddress
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, overload
from uuid import UUID

import msgspec
from django.conf import settings
from msgspec import Meta

from portal.credentials.presented import presented
from portal.decision import configuration, estimate, rebuild, reservation, valkey
from portal.decision.configuration import Configuration
from portal.lib import windows
from portal.lib.errors import Unavailable
from portal.lib.uuid7 import uuid7_bytes
from portal.spend.pricing import ModelPrice

BASE = 10**9
_Text = Annotated[str, Meta(min_length=1, max_length=512)]
_Number = Annotated[int, Meta(ge=0, le=10**9)]
# Price id, spend hi and lo, tokens hi and lo.
AMOUNTS = struct.Struct("<5d")
# Of the eleven numbers that the function reports of a reservation: expiry, spend hi and lo, tokens hi and lo.
_OF_HEAD = struct.Struct("<8xd40x4d").unpack
# How a limit stands, at the end of what is said of it: start or 0, settled hi and lo, held hi and lo, when it resets.
NUMBERS = struct.Struct("<6d")


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


class Allowed(NamedTuple):
    """The call may go ahead; so much is reserved for it."""

    reservation_id: str
    expires: int  # milliseconds
    spend: int
    project: str
    user: str
    credential: str
    rows: Sequence[Row]


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


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a gateway asks about. The bounds hold for what is decoded from JSON."""

    credential: _Text
    model: _Text
    request_id: Annotated[str, Meta(min_length=1, max_length=128)]
    input_tokens: _Number | None = None
    input_bytes: _Number | None = None
    max_output_tokens: _Number | None = None
    n: _Number = 1
    client_ip: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    user: _Text | None = None  # an e-mail address, for keys that may name their user
    stream: bool = False


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
        ) in msgspec.msgpack.decode(packed)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What a copy of the configuration says of a moment, as the functions take it, and when its windows end."""

    text: str
    start: int  # milliseconds, half-open: while this day, week and month last
    end: int
    ends: dict[str, int]


_frame: tuple[Configuration, Frame] | None = None


def frame_of(config: Configuration, now_ms: int) -> Frame:
    """Return the frame of a moment; the last one is kept."""
    global _frame
    held = _frame
    if held is None or held[0] is not config or not held[1].start <= now_ms < held[1].end:
        found = windows.windows_at(now_ms / 1000, config.zone)
        numbers = [config.version, *(edge for window in found for edge in (window.start, window.end))]
        numbers += [settings.RESERVATION_SECONDS * 1000, settings.REFUSAL_STREAM_LENGTH]
        frame = Frame(
            " ".join(map(str, numbers)),
            max(window.start for window in found) * 1000,
            min(window.end for window in found) * 1000,
            {window.kind: window.end for window in found},
        )
        held = _frame = (config, frame)
    return held[1]


@dataclass(frozen=True, slots=True)
class Limit:
    """What does not change about a limit that applies to a call."""

    scope: str
    metric: str
    window: str
    model: str
    label: str
    limit: int
    is_enforced: bool
    set_on: str


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """What all calls with one credential, user and model have in common."""

    project: str
    user: str
    limits: tuple[Limit, ...]


@lru_cache(maxsize=4096)
def _described(packed: bytes) -> Described:
    project, user, rows = msgspec.msgpack.decode(packed)
    limits = (
        Limit(scope, metric, window, model, label, hi * BASE + lo, is_enforced, set_on)
        for scope, metric, window, model, label, hi, lo, is_enforced, set_on in rows
    )
    return Described(project, user, tuple(limits))


class Standing(Sequence[Row]):
    """The limits of an allowed call, as the function has left them: read only where somebody looks."""

    __slots__ = ("_asked", "_without_room", "described", "frame", "packed")

    def __init__(
        self,
        described: Described,
        packed: Sequence[bytes],
        without_room: bytes,
        asked: Mapping[str, int],
        frame: Frame,
    ) -> None:
        self.described, self.packed, self.frame = described, packed, frame
        self._without_room, self._asked = without_room, asked

    def __len__(self) -> int:
        return len(self.packed)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        limit, packed = self.described.limits[index], self.packed[index]
        _, settled, settled_lo, held, held_lo, resets = NUMBERS.unpack_from(packed, len(packed) - 48)
        return Row(
            limit.scope,
            limit.metric,
            limit.window,
            limit.model,
            limit.label,
            limit.limit,
            int(settled) * BASE + int(settled_lo),
            int(held) * BASE + int(held_lo),
            self._asked.get(limit.metric, 1),
            self.frame.ends.get(limit.window) or int(resets),
            index % len(self) + 1 not in self._without_room,
            limit.is_enforced,
            limit.set_on,
        )


def _amounts(price: ModelPrice | None, amount: estimate.Estimate | None, *, no_price: int = 0) -> bytes:
    if price is None or amount is None:
        return AMOUNTS.pack(no_price, 0, 0, 0, 0)
    spend, tokens = amount
    if spend < BASE > tokens:
        return AMOUNTS.pack(price.id, 0, spend, 0, tokens)
    return AMOUNTS.pack(price.id, *divmod(spend, BASE), *divmod(tokens, BASE))


_REBUILD: list[Any] = [b"rebuild"]


def in_step(attempt: Callable[[Configuration, int], list[Any]]) -> list[Any]:
    """Call until configuration, clock and decision state agree; raise Unavailable when they cannot be brought to.

    ``attempt`` gets the configuration and the time (milliseconds) to compute windows for.
    """
    version, now = 0, int(time.time() * 1000)
    for _ in range(6):
        try:
            answer = attempt(configuration.current(version), now)
        except configuration.NotPublished:
            answer = _REBUILD
        kind = answer[0]
        if kind == b"rebuild":
            rebuild.ensure_ready()
            configuration.forget()
            version = 0
        elif kind == b"config":
            configuration.forget()
            version, now = answer[1], answer[2]
        elif kind == b"clock":
            now = answer[2]
        else:
            return answer
    raise Unavailable("the decision state keeps changing")


def ask(function: str, *arguments: Any) -> list[Any]:
    """Call a function that depends on no configuration; rebuild first if the decision state is missing."""
    return in_step(lambda _configuration, _now: valkey.call(function, *arguments))


@lru_cache(maxsize=4096)
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
    parts = (
        f"{key_id} {call.input_tokens} {call.input_bytes} {call.max_output_tokens} {call.n} "
        f"{len(model)} {model} {call.user or ''}"
    )
    return hashlib.blake2b(parts.encode(), digest_size=12).hexdigest()


def user_key(email: str) -> str:
    """Return an e-mail address as users are named by it: letters of any case are alike."""
    return email.strip().lower()


def authorize(gateway_secret: str, call: Call, *, now_ms: int | None = None) -> Allowed | Refused:
    """Decide one call and reserve for it; raise Unavailable when nobody can decide at the moment.

    ``now_ms`` replaces the server's clock in tests of time.
    """
    gateway = presented(gateway_secret)
    if gateway is None or gateway.kind != "gateway":
        return Refused("gateway_unknown")
    credential = presented(call.credential)
    if credential is not None and credential.kind == "gateway":
        credential = None
    key_id = credential.key_id if credential else ""
    request = reservation.request_hash(call.request_id)
    decision = uuid7_bytes()
    bits = address_bits(call.client_ip)
    frames: list[Frame] = []

    def attempt(config: Configuration, now: int) -> list[Any]:
        now = now_ms or now
        frame = frame_of(config, now)
        frames.append(frame)
        model = config.model(call.model)
        price = config.price(model, now)
        amount = (
            estimate.ceiling(
                price,
                input_tokens=call.input_tokens,
                input_bytes=call.input_bytes,
                max_output_tokens=call.max_output_tokens,
                n=call.n,
            )
            if price
            else None
        )
        return valkey.call(
            "authorize",
            now_ms or "",
            frame.text,
            gateway.key_id,
            gateway.peppers,
            gateway.digests,
            key_id,
            credential.digests if credential else "",
            reservation.record_key(gateway.key_id, request),
            call.request_id,
            fingerprint(call, key_id, model),
            model,
            _amounts(price, amount),
            bits,
            decision,
            call.client_ip or "",
            user_key(call.user) if call.user else "",
        )

    answer = in_step(attempt)
    if answer[0] == b"no":
        code, decision_id = answer[1].decode(), str(UUID(bytes=decision))
        if code != "limit_exceeded":
            return Refused(code, decision_id)
        _, _, now, rows, name, project = answer
        return Refused(code, decision_id, now, tuple(read_rows(rows)), name.decode(), project.decode())
    described = _described(answer[1])
    expires, spend_hi, spend_lo, tokens_hi, tokens_lo = _OF_HEAD(answer[2])
    spend, tokens = int(spend_hi) * BASE + int(spend_lo), int(tokens_hi) * BASE + int(tokens_lo)
    return Allowed(
        reservation.encode_reported(answer[2], key_id, gateway.key_id, request),
        int(expires),
        spend,
        described.project,
        described.user,
        key_id,
        Standing(described, answer[4:], answer[3], {"spend": spend, "tokens": tokens}, frames[-1]),
    )


def check_gateway(secret: str) -> tuple[str, int] | None:
    """Return the id of a known gateway and the server's time in milliseconds, or None."""
    gateway = presented(secret)
    if gateway is None or gateway.kind != "gateway":
        return None
    answer = ask("gateway", gateway.key_id, gateway.peppers, gateway.digests)
    if answer[0] != b"ok":
        return None
    configuration.current(answer[2])
    return gateway.key_id, answer[1]


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
    caller = presented(secret) if secret else None
    if secret and (caller is None or caller.key_id != key_id):
        return Explanation("credential_unknown", int(time.time() * 1000), [], "", "", 0)
    spend = 0

    def attempt(config: Configuration, now: int) -> list[Any]:
        nonlocal spend
        name = config.model(model)
        price = config.price(name, now)
        amount = (
            estimate.ceiling(
                price, input_tokens=input_tokens, input_bytes=None, max_output_tokens=max_output_tokens, n=1
            )
            if price
            else None
        )
        spend = amount.spend if amount else 0
        return valkey.call(
            "explain",
            "",
            frame_of(config, now).text,
            key_id,
            caller.peppers if caller else "",
            caller.digests if caller else "",
            name,
            _amounts(price, amount, no_price=0 if model else -1),
            address_bits(client_ip),
        )

    answer = in_step(attempt)
    if answer[0] == b"no":
        return Explanation(answer[1].decode(), answer[2], [], "", "", 0)
    _, code, now, rows, project, user = answer
    return Explanation(code.decode(), now, read_rows(rows), project.decode(), user.decode(), spend)

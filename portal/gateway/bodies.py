"""Read the bodies of the Gateway API: form first, meaning later. Every error names its field and what to send."""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from portal.decision.decide import Call
from portal.decision.usage import Event, Rejected
from portal.lib.money import to_nano

MOST = 10**9
MAX_EVENTS = 1000
_STATUS = ("ok", "failed", "cancelled")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_MONEY = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


class Malformed(Exception):
    """The body is not JSON in UTF-8."""


class Invalid(Exception):
    """Fields are missing, unknown or out of range; ``errors`` lists them."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__(errors)
        self.errors = errors


def _integer(digits: str) -> int:
    # Python reads no number of thousands of digits; here any that long is only out of range.
    return int(digits) if len(digits) <= 20 else MOST * MOST


def _no_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_int=_integer)


def parse(raw: bytes) -> dict[str, Any]:
    """Return the JSON object; raise Malformed when it is not JSON, Invalid when it is no object."""
    try:
        text = raw.decode("utf-8")
        if text[:1] == "{":
            body, end = _DECODER.raw_decode(text)
            if end != len(text) and text[end:].strip(" \t\n\r"):
                raise Malformed
        else:
            body = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Malformed from error
    if not isinstance(body, dict):
        raise Invalid([{"field": "", "detail": "the body must be an object"}])
    return body


class _Reader:
    """Takes fields from an object and collects what is wrong with them."""

    def __init__(self, body: dict[str, Any], prefix: str = "") -> None:
        self.body = body
        self.prefix = prefix
        self.known: set[str] = set()
        self.errors: list[dict[str, str]] = []

    def wrong(self, field: str, detail: str) -> None:
        self.errors.append({"field": f"{self.prefix}{field}", "detail": detail})

    def _get(self, field: str, required: bool) -> Any:
        self.known.add(field)
        value = self.body.get(field)
        if value is None and (required or field in self.body):
            self.wrong(field, "is required" if field not in self.body else "may not be null")
        return value

    def text(self, field: str, *, required: bool = False, least: int = 1, most: int = 512) -> str | None:
        value = self._get(field, required)
        if value is None:
            return None
        if not isinstance(value, str):
            self.wrong(field, "must be a string")
        elif not least <= len(value) <= most:
            self.wrong(field, f"must have {least} to {most} characters")
        elif "\x00" in value:
            self.wrong(field, "may not contain NUL")
        elif not value.isascii() and not _encodes(value):
            self.wrong(field, "must be valid Unicode")
        else:
            return value
        return None

    def whole(self, field: str, *, required: bool = False) -> int | None:
        value = self._get(field, required)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(field, "must be a whole number")
        elif not 0 <= value <= MOST:
            self.wrong(field, f"must be 0 to {MOST}")
        else:
            return value
        return None

    def flag(self, field: str) -> bool | None:
        value = self._get(field, False)
        if value is not None and not isinstance(value, bool):
            self.wrong(field, "must be true or false")
            return None
        return value

    def money(self, field: str) -> int | None:
        value = self._get(field, False)
        if value is None:
            return None
        if not isinstance(value, str) or not _MONEY.fullmatch(value):
            self.wrong(field, "must be a decimal string with up to nine fractional digits")
            return None
        try:
            return to_nano(value)
        except ValueError:
            self.wrong(field, "is too large")
            return None

    def instant(self, field: str) -> datetime | None:
        value = self.text(field, required=True)
        if value is None:
            return None
        if _INSTANT.fullmatch(value):
            try:
                return datetime.fromisoformat(value.upper().replace(" ", "T")).astimezone(UTC)
            except (ValueError, OverflowError):
                pass
        self.wrong(field, "must be an RFC 3339 instant such as 2026-11-24T11:38:52Z")
        return None

    def done(self) -> None:
        for field in self.body:
            if field not in self.known:
                self.wrong(field[:80].encode("utf-8", "replace").decode(), "is not known")


def _encodes(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


_decode_call = msgspec.json.Decoder(Call).decode


def read_call(raw: bytes) -> Call:
    """Read the body of ``authorize``; raise Malformed or Invalid.

    What is plainly right is decoded at once; whatever else there is is read again by those who name the error.
    """
    if raw.isascii() and b"\\" not in raw and b"null" not in raw:
        with suppress(msgspec.MsgspecError):
            call = _decode_call(raw)
            if call.n:
                return call
    return read_fields(parse(raw))


def read_fields(body: dict[str, Any]) -> Call:
    """Read a call from the fields of a JSON object; raise Invalid."""
    reader = _Reader(body)
    credential = reader.text("credential", required=True, least=0)
    model = reader.text("model", required=True)
    request_id = reader.text("request_id", required=True, most=128)
    input_tokens, input_bytes = reader.whole("input_tokens"), reader.whole("input_bytes")
    max_output_tokens, n = reader.whole("max_output_tokens"), reader.whole("n")
    client_ip = reader.text("client_ip", most=64)
    user = reader.text("user")
    reader.flag("stream")
    reader.done()
    if reader.errors:
        raise Invalid(reader.errors)
    return Call(
        credential=credential or "",
        model=model or "",
        request_id=request_id or "",
        input_tokens=input_tokens,
        input_bytes=input_bytes,
        max_output_tokens=max_output_tokens,
        n=max(1, n or 1),
        client_ip=client_ip,
        user=user,
    )


def read_release(body: dict[str, Any]) -> tuple[str, str, bool]:
    """Read the body of ``release``: the reservation or Envoy's name for the call, and if it was sent; raise Invalid."""
    reader = _Reader(body)
    call_id, is_sent = reader.text("call_id", most=128), reader.flag("is_sent")
    reservation_id = reader.text("reservation_id", required="call_id" not in body)
    if call_id and ("reservation_id" in body or is_sent):
        reader.wrong("call_id", "may not stand beside reservation_id or is_sent")
    reader.done()
    if reader.errors:
        raise Invalid(reader.errors)
    return reservation_id or "", call_id or "", bool(is_sent)


def read_reservation(body: dict[str, Any]) -> str:
    """Read the body of ``extend``; raise Invalid."""
    reader = _Reader(body)
    reservation_id = reader.text("reservation_id", required=True)
    reader.done()
    if reader.errors:
        raise Invalid(reader.errors)
    return reservation_id or ""


def read_events(body: dict[str, Any]) -> tuple[list[Event], list[Rejected]]:
    """Read the body of ``usage``; raise Invalid when it is no list of 1 to 1000 events.

    An event that is not valid is rejected by itself and never blocks the others.
    """
    outer = _Reader(body)
    outer.known.add("events")
    outer.done()
    events = body.get("events")
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        outer.wrong("events", f"must be a list of 1 to {MAX_EVENTS} events")
    if outer.errors:
        raise Invalid(outer.errors)
    good: list[Event] = []
    bad: list[Rejected] = []
    for index, item in enumerate(events or []):
        event = _read_event(index, item)
        if isinstance(event, Event):
            good.append(event)
        else:
            bad.append(event)
    return good, bad


def _read_event(index: int, item: Any) -> Event | Rejected:
    if not isinstance(item, dict):
        return Rejected(index, "invalid", "an event must be an object")
    reader = _Reader(item)
    request_id = reader.text("request_id", required=True, most=128)
    reservation_id, credential_id = reader.text("reservation_id"), reader.text("credential_id", most=64)
    model = reader.text("model", required=True)
    occurred = reader.instant("occurred_at")
    input_tokens = reader.whole("input_tokens", required=True) or 0
    output_tokens = reader.whole("output_tokens", required=True) or 0
    cached = reader.whole("cached_input_tokens") or 0
    written = reader.whole("cache_write_tokens") or 0
    reasoning = reader.whole("reasoning_tokens") or 0
    status = reader.text("status", required=True)
    cost = reader.money("cost")
    reader.done()
    if status is not None and status not in _STATUS:
        reader.wrong("status", "must be ok, failed or cancelled")
    if cached + written > input_tokens:
        reader.wrong("cached_input_tokens", "with cache_write_tokens may not exceed input_tokens")
    if reasoning > output_tokens:
        reader.wrong("reasoning_tokens", "may not exceed output_tokens")
    if reader.errors or occurred is None:
        first = reader.errors[0]
        return Rejected(
            index, "invalid", "; ".join(f"{e['field']} {e['detail']}" for e in reader.errors) or str(first)
        )
    return Event(
        index=index,
        request_id=request_id or "",
        model=model or "",
        occurred=occurred,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        status=status or "ok",
        reservation_id=reservation_id,
        credential_id=credential_id,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        cost=cost,
    )

"""What the scheduled jobs do. Each may be killed at any line and run again, by any number of workers."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from portal.decision import configuration, decide, fallback_store, last_use, usage, valkey
from portal.lib import windows
from portal.lib.uuid7 import uuid7
from portal.spend import inbox, settled
from portal.spend.inbox import Entry
from portal.spend.models import Refusal, RefusalBatch, UnpricedModel

log = logging.getLogger(__name__)

BASE = 10**9
# Of one refusal repeated within a minute, so many are kept one by one; the rest become a count.
_KEPT_EACH_MINUTE = 20
_USUAL = timedelta(days=7)  # how far back calls say what is typical
_REFUSALS_LOCK = 7345004


@contextmanager
def only_one(number: int) -> Iterator[bool]:
    """Hold an advisory lock while the block runs; False when somebody else holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [number])
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [number])


def move_usage(batch: int = 2000, most: int = 50) -> int:
    """Count what waits in the inbox, then move it to ledger and roll-ups; return how many rows moved.

    Counting comes first: a row that has left the inbox is never counted again.
    """
    config = configuration_in_step()
    moved = 0
    for _ in range(most):
        rows = inbox.waiting(batch)
        if not rows:
            break
        usage.count(rows, config)
        done = inbox.move(rows)
        if done:
            valkey.call("moved", settings.TOMBSTONE_SECONDS, *(row.seq for row in rows))
        moved += done
        if len(rows) < batch or not done:
            break
    return moved


def configuration_in_step() -> configuration.Configuration:
    """Return the configuration the functions decide by; rebuild first if they have lost it."""
    found: list[configuration.Configuration] = []

    def attempt(config: configuration.Configuration, _now: int) -> list[Any]:
        answer = valkey.call("state")
        if answer[0] == b"ok" and answer[3] != config.version:
            return [b"config", answer[3], answer[1]]
        found.append(config)
        return answer

    decide.in_step(attempt)
    return found[-1]


def expire_reservations(batch: int = 500, now_ms: int | None = None) -> int:
    """Book an estimate for every reservation that expired unsettled; return how many were booked.

    A gateway that dies loses its report, and the money is spent all the same. The real usage reverses the estimate
    when it arrives.
    """
    config = configuration_in_step()
    usual: dict[tuple[int, str], settled.Typical | None] = {}
    booked = 0
    while True:
        answer = decide.ask("due", now_ms or "", batch)
        rows = answer[1:]
        if not rows:
            return booked
        now = timezone.now()
        entries = [estimate_of(row, config, now, usual) for row in rows]
        stored = add_estimates(entries)
        usage.count(stored, config)
        booked += len(stored)
        written = {row.entry.id for row in stored}
        # Reported meanwhile, or booked by a run that was killed before it could count.
        usage.close(
            [(entry.gateway, entry.request_id) for entry in entries if entry.id not in written], config
        )


@transaction.atomic
def add_estimates(entries: list[Entry]) -> list[inbox.Stored]:
    """Book estimates and close what Postgres holds for those calls, at once."""
    stored = inbox.add_estimates(entries)
    fallback_store.settle(stored)
    return stored


def estimate_of(
    row: list[Any],
    config: configuration.Configuration,
    now: datetime,
    usual: dict[tuple[int, str], settled.Typical | None],
) -> Entry:
    """Return the estimate for a reservation: what is typical for project and model, at most what was reserved."""
    (_, gateway, request_id, moment, group, project, person, draws, credential, model, price_id) = row[:11]
    hi, lo, thi, tlo, expires = row[11:16]
    at = datetime.fromtimestamp(moment / 1000, UTC)
    reserved, tokens = hi * BASE + lo, thi * BASE + tlo
    name = (project, model.decode())
    if name not in usual:
        usual[name] = settled.typical(*name, now - _USUAL)
    like = usual[name] or settled.Typical(tokens, 0, reserved)
    size = min(like.input_tokens, tokens)
    return Entry(
        id=uuid7(),
        moment=at,
        day=windows.local_day(moment / 1000, config.zone),
        kind="estimate",
        refers_to=None,
        gateway=gateway.decode(),
        request_id=request_id.decode(),
        credential=credential.decode(),
        project=project,
        group_id=group or None,
        person=person or None,
        draws_on=draws or None,
        model=model.decode(),
        price_id=price_id,
        status="ok",
        calls=1,
        input_tokens=size,
        cached_input_tokens=0,
        cache_write_tokens=0,
        output_tokens=min(like.output_tokens, tokens - size),
        reasoning_tokens=0,
        spend=min(like.spend, reserved),
        reserved=reserved,
        gateway_cost=None,
        is_late=False,
        is_restated=False,
        occurred=datetime.fromtimestamp(expires / 1000, UTC),
        arrived=now,
    )


def move_refusals(batch: int = 1000) -> int:
    """Move refusals from the stream to Postgres; alike ones within a minute beyond 20 become a count."""
    moved = 0
    with only_one(_REFUSALS_LOCK) as mine:
        while mine:
            rows = valkey.command("XRANGE", "refused", "-", "+", "COUNT", batch)
            if not rows:
                break
            _move_batch([json.loads(fields[1]) for _, fields in rows])
            valkey.command("XDEL", "refused", *(entry_id for entry_id, _ in rows))
            moved += len(rows)
    return moved


@transaction.atomic
def _move_batch(found: list[dict[str, Any]]) -> None:
    # The stream still has the last batch when its mover died between commit and deletion.
    last = set(RefusalBatch.objects.filter(pk=1).values_list("counted", flat=True).first() or ())
    keep_refusals([item for item in found if UUID(item["id"]) not in last])
    RefusalBatch.objects.update_or_create(pk=1, defaults={"counted": [UUID(item["id"]) for item in found]})


@transaction.atomic
def keep_refusals(found: list[dict[str, Any]]) -> None:
    """Write refusals, in the form in which the function logs them."""
    _keep_refusals(found)


def _keep_refusals(found: list[dict[str, Any]]) -> None:
    ids = [UUID(item["id"]) for item in found]
    known = set(Refusal.objects.filter(decision_id__in=ids).values_list("decision_id", flat=True))
    alike: dict[tuple[Any, ...], list[Refusal]] = {}
    unpriced: dict[str, int] = {}
    for item, decision_id in zip(found, ids, strict=True):
        if decision_id in known:
            continue
        refusal = _refusal(item, decision_id)
        minute = refusal.occurred.replace(second=0, microsecond=0)
        key = (minute, refusal.credential, refusal.code, refusal.binding, refusal.is_observed)
        alike.setdefault(key, []).append(refusal)
        if refusal.code == "model_unpriced":
            unpriced[refusal.model] = unpriced.get(refusal.model, 0) + 1
    for (minute, credential, code, binding, is_observed), refusals in alike.items():
        before = Refusal.objects.filter(
            occurred__gte=minute,
            occurred__lt=minute + timedelta(minutes=1),
            credential=credential,
            code=code,
            binding=binding,
            is_observed=is_observed,
        )
        room = max(0, _KEPT_EACH_MINUTE - before.count())
        Refusal.objects.bulk_create(refusals[:room], ignore_conflicts=True)
        rest = len(refusals) - room
        last = before.order_by("-occurred", "-decision_id").first()
        if rest > 0 and last is not None:
            Refusal.objects.filter(pk=last.pk).update(count=F("count") + rest)
    for model, calls in unpriced.items():
        row, _ = UnpricedModel.objects.get_or_create(pk=model[:200])
        row.calls += calls
        row.save()


def _refusal(item: dict[str, Any], decision_id: UUID) -> Refusal:
    checks = [_check(row) for row in item.get("checks") or []]
    failed = [check for check in checks if not check["has_room"]]
    # Where an enforcing limit refused, one that only observes did not decide.
    failed = [check for check in failed if check["is_enforced"]] or failed
    binding = max(failed, key=lambda check: check["resets"], default=None)
    return Refusal(
        decision_id=decision_id,
        occurred=datetime.fromtimestamp(item["at"] / 1000, UTC),
        code=item["code"],
        is_observed=bool(item.get("observed")),
        gateway=item["gateway"],
        request_id=item["request"],
        credential=item["credential"],
        project=item["project"] or None,
        group=item["group"] or None,
        person=item["person"] or None,
        model=item["model"][:200],
        requested=int(item["hi"]) * BASE + int(item["lo"]),
        binding="|".join((binding["scope"], binding["metric"], binding["window"], binding["model"]))[:120]
        if binding
        else "",
        checks=checks,
    )


def _check(row: list[Any]) -> dict[str, Any]:
    def amount(at: int) -> int:
        return int(row[at]) * BASE + int(row[at + 1])

    return {
        "scope": row[0],
        "metric": row[1],
        "window": row[2],
        "model": row[3],
        "label": row[4],
        "limit": amount(5),
        "settled": amount(7),
        "reserved": amount(9),
        "requested": amount(11),
        "resets": int(row[13]),
        "has_room": row[14] == 1,
        "is_enforced": row[15] == 1,
        "set_on": row[16],
    }


def note_last_use() -> int:
    """Write when credentials and gateways were last used, one statement for each table; accurate to a minute."""
    # What a run that was cut off has left comes first.
    if not valkey.command("EXISTS", "seen:moving"):
        if not valkey.command("EXISTS", "seen"):
            return 0
        valkey.command("RENAMENX", "seen", "seen:moving")
    pairs = valkey.command("HGETALL", "seen:moving")
    uses = last_use.read(dict(zip(pairs[::2], pairs[1::2], strict=True)))
    last_use.write(uses)
    valkey.command("DEL", "seen:moving")
    return len(uses)

"""Who decides: Valkey or Postgres, never both. The row in Postgres says which; a lease in Valkey makes it true there.

Valkey decides only while its lease runs. A renewal names a moment counted from before Postgres was asked, so one that
is held up on its way prolongs nothing. Who takes the decision away writes so in Postgres and waits until no renewal
can hold any more: `LEASE` after the writing and, for each web process that may renew without Postgres (see
`portal.decision.renewal`), `LEASE` after it has learned of it or is known to be dead, or `GRACE` after it was last
seen.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Sum

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.decision import valkey
from portal.decision.models import Decider, FallbackReservation, Outage, Renewer
from portal.lib.errors import Unavailable
from portal.spend.models import Refusal

State = Decider.State

LOCK = 7345010
LEASE = timedelta(seconds=settings.DECIDER_LEASE_SECONDS)
GRACE = timedelta(seconds=settings.DECIDER_GRACE_SECONDS)
# How much the clocks of the two servers may run apart while one lease runs.
MARGIN = timedelta(seconds=0.25)
# Whoever reached Valkey no longer ago than this speaks for it.
RECENT = timedelta(seconds=2)
_WAIT_MS = 100
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@contextmanager
def locked(*, exclusive: bool, wait_ms: int = _WAIT_MS) -> Iterator[Decider]:
    """Hold the decider's row still for a transaction: shared to decide or to report, exclusive to change it.

    The lock manager is fair, so a change never waits behind an endless row of decisions.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{wait_ms}ms"])
            if exclusive:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            else:
                cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])
        yield current()


def current() -> Decider:
    """Return the decider's row, made if it never was."""
    row = Decider.objects.filter(pk=1).first()
    if row is None:
        Decider.objects.bulk_create([Decider(changed=_now())], ignore_conflicts=True)
        row = Decider.objects.get(pk=1)
    return row


def _now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


def valkey_clock() -> float:
    """Return Valkey's clock in seconds; the lease is written in it."""
    seconds, micros = valkey.command("TIME")
    return int(seconds) + int(micros) / 1_000_000


def until(clock: float, length: timedelta = LEASE) -> int:
    """Return the end of a lease (milliseconds) that was begun to be renewed at the moment."""
    return int((clock + length.total_seconds()) * 1000)


def renew() -> bool:
    """Let Valkey go on deciding if Postgres says so; False when it has to be rebuilt first.

    Raise Unavailable while Postgres decides and Valkey must not be given it back.
    """
    clock = valkey_clock()
    row = current()
    if row.state != State.VALKEY:
        if not may_return():
            raise Unavailable("Postgres decides")
        return False
    return bool(valkey.call("renew", row.epoch, until(clock))[0] == b"ok")


def may_return() -> bool:
    """Whether every web process that was seen lately reaches Valkey: then it may decide again."""
    now = _now()
    lately = Renewer.objects.filter(seen__gt=now - 2 * RECENT)
    return not lately.exclude(reached__gt=now - 2 * RECENT).exists()


def move() -> str:
    """Take the decision from Valkey, which the caller cannot reach; return who decides afterwards.

    Nobody does until Valkey surely does not: call again. Where others reach Valkey, it goes on deciding.
    """
    with locked(exclusive=True) as row:
        now = _now()
        if row.state == State.VALKEY:
            if Renewer.objects.filter(reached__gt=now - RECENT).exists():
                return State.VALKEY
            row.state, row.changed = State.MOVING, now
            row.save()
            began(Outage.Server.VALKEY, now)
        if row.state == State.MOVING and now >= _surely_over(row, now) + MARGIN:
            row.state = State.POSTGRES
            row.save()
        return str(row.state)


def _surely_over(row: Decider, now: datetime) -> datetime:
    """Return the moment at which the last renewal of Valkey's lease has run out."""
    ends = [row.changed + LEASE]
    for renewer in Renewer.objects.all():
        if renewer.acknowledged is None and is_dead(renewer):
            renewer.acknowledged = now
            renewer.save()
        ends.append(renewer.acknowledged + LEASE if renewer.acknowledged else renewer.seen + GRACE)
    return max(ends)


def begin_return() -> None:
    """Note that Valkey is about to be rebuilt: from now on usage stays in the inbox until Valkey has counted it."""
    with locked(exclusive=True, wait_ms=5000) as row:
        if row.state == State.POSTGRES:
            row.state = State.RETURNING
            row.save()


def opened(row: Decider, epoch: int) -> None:
    """Give the decision to Valkey, in the transaction that holds the row exclusively; then open it."""
    was = row.state
    row.state, row.epoch, row.changed = State.VALKEY, epoch, _now()
    row.save()
    if was != State.VALKEY:
        ended(Outage.Server.VALKEY)


def last_open_reservations() -> int:
    """Return how many reservations Valkey held when a web process last heard of it."""
    row = Renewer.objects.order_by("-reached").exclude(reached=None).first()
    return row.open_reservations if row else 0


# Outages: each begins and ends with an entry of the audit log.


def began(server: str, moment: datetime) -> None:
    """Note that a server is away, once; in the caller's transaction."""
    _, is_new = Outage.objects.get_or_create(server=server, ended=None, defaults={"began": moment})
    if is_new:
        record(
            Action.OUTAGE_BEGAN,
            actor=Actor.system(),
            target=Target("server", server, Outage.Server(server).label),
            changes={"decides": (State.VALKEY, State.POSTGRES)} if server == Outage.Server.VALKEY else None,
        )


def ended(server: str) -> None:
    """Note that the server is back, with what was decided meanwhile; in the caller's transaction."""
    outage = Outage.objects.filter(server=server, ended=None).first()
    if outage is None:
        return
    outage.ended = _now()
    if server == Outage.Server.VALKEY:
        outage.admitted = FallbackReservation.objects.filter(
            moment__gte=int(outage.began.timestamp() * 1000)
        ).count()
        refused = Refusal.objects.filter(occurred__gte=outage.began, is_observed=False)
        outage.refused = refused.aggregate(n=Sum("count"))["n"] or 0
    outage.save()
    record(
        Action.OUTAGE_ENDED,
        actor=Actor.system(),
        target=Target("server", server, Outage.Server(server).label),
        changes={
            "seconds": (None, round((outage.ended - outage.began).total_seconds())),
            "admitted": (None, outage.admitted),
            "refused": (None, outage.refused),
        },
    )


def note_past(server: str, moment: datetime, admitted: int, refused: int) -> None:
    """Note an outage that is over and that nobody could write down while it lasted; several may have seen it."""
    outage = Outage.objects.filter(server=server, ended__gte=moment).order_by("-ended").first()
    if outage is None:
        began(server, moment)
        Outage.objects.filter(server=server, ended=None).update(admitted=admitted, refused=refused)
        ended(server)
    else:
        outage.admitted += admitted
        outage.refused += refused
        outage.save()


# Processes


def place() -> str:
    """Return what tells machines and process namespaces apart, or nothing where the kernel does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def started(pid: int) -> int:
    """Return when the process began, in the kernel's ticks; 0 when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        state, *rest = text.rpartition(")")[2].split()
        return 0 if state in "ZX" else int(rest[18])
    except (OSError, ValueError, IndexError):
        return 0


def is_dead(renewer: Renewer) -> bool:
    """Whether the process is known to have ended: only one in the same place can tell."""
    return bool(renewer.place) and renewer.place == place() and started(renewer.pid) != renewer.started


def monotonic() -> float:
    """Return a clock that runs on while the machine sleeps, where there is one."""
    return time.clock_gettime(_CLOCK)

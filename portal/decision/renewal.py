"""Each web process renews Valkey's lease, notices who is away, and hands the decision over and back.

Two threads, so that a server that hangs holds up only what it is asked. One reports to Postgres every second and
learns who decides; the other renews the lease in Valkey with what that one last learned. While Postgres cannot be
reached the process goes on renewing, at most `epoch.GRACE` after Postgres last confirmed it: so long whoever takes
the decision away waits for it, unless it is known to be dead.
"""

import atexit
import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from django.db import DatabaseError, InterfaceError, close_old_connections, connection, transaction
from psycopg.errors import LockNotAvailable

from portal.decision import epoch, fallback_jobs, last_use, rebuild, recall, valkey
from portal.decision.models import Outage, Renewer
from portal.lib.errors import Unavailable

log = logging.getLogger(__name__)

_PERIOD = 0.7  # seconds; a lease outlives several
_NOTE_EVERY = 20.0  # seconds
_BY_VALKEY = ("", epoch.State.VALKEY.value)
_SILENCE = epoch.RECENT.total_seconds()


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Postgres said, to a question asked at ``asked`` (monotonic), that Valkey decides in the epoch."""

    epoch: int
    asked: float


@dataclass(slots=True)
class Renewal:
    """What this process knows of the two servers."""

    id: UUID = field(default_factory=uuid4)
    state: str = ""  # as Postgres last said; nothing yet
    confirmed: Confirmed | None = None
    reached: float = 0.0  # when Valkey last answered
    asking: float = 0.0  # since when Valkey has been asked without an answer
    open_reservations: int = 0
    silent_since: datetime | None = None  # since when Postgres does not answer
    admitted: int = 0  # decided by Valkey while Postgres did not answer
    refused: int = 0
    noted: float = field(default_factory=epoch.monotonic)  # when last uses were last written
    stopping: threading.Event = field(default_factory=threading.Event)

    # Postgres

    def report(self) -> None:
        """Tell Postgres that this process lives and whether it reaches Valkey; learn who decides."""
        close_old_connections()
        asked = epoch.monotonic()
        with epoch.locked(exclusive=False, wait_ms=1000) as decider:
            is_valkey = decider.state == epoch.State.VALKEY
            if not is_valkey:
                # Before this process says that it knows, it must have stopped renewing.
                self.confirmed = None
            self._write(is_valkey=is_valkey)
        self.state = decider.state
        if is_valkey:
            recall.note(decider)
            self.confirmed = Confirmed(decider.epoch, asked)

    def _write(self, *, is_valkey: bool) -> None:
        ago = epoch.monotonic() - self.reached if self.reached else None
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO decision_renewer AS r"
                " (id, place, pid, started, seen, reached, acknowledged, open_reservations)"
                " VALUES (%(id)s, %(place)s, %(pid)s, %(started)s, clock_timestamp(),"
                "  clock_timestamp() - make_interval(secs => %(ago)s),"
                "  CASE WHEN %(valkey)s THEN NULL ELSE clock_timestamp() END, %(open)s)"
                " ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, reached = excluded.reached,"
                "  open_reservations = excluded.open_reservations, acknowledged ="
                "  CASE WHEN excluded.acknowledged IS NOT NULL THEN coalesce(r.acknowledged, excluded.acknowledged)"
                "  END",
                {
                    "id": self.id,
                    "place": epoch.place(),
                    "pid": os.getpid(),
                    "started": epoch.started(os.getpid()),
                    "ago": ago,
                    "valkey": is_valkey,
                    "open": self.open_reservations,
                },
            )

    def act(self) -> None:
        """Hand the decision over or back, if it is time to, and do what the worker cannot do without Valkey."""
        if self.state == epoch.State.VALKEY:
            if self.is_valkey_silent():
                self.state = epoch.move()
        elif not self.is_valkey_silent() and self.reached and epoch.may_return():
            rebuild.ensure_ready()
        elif self.state == epoch.State.MOVING:
            self.state = epoch.move()
        else:
            fallback_jobs.expire()
            fallback_jobs.move_usage()

    def note_last_use(self) -> None:
        """Write, a few times a minute, when credentials were last used while Postgres decided."""
        if epoch.monotonic() - self.noted > _NOTE_EVERY:
            last_use.write_heard()
            self.noted = epoch.monotonic()

    def note_silence(self, since: datetime) -> None:
        """Remember since when Postgres does not answer."""
        if self.silent_since is None:
            self.silent_since = since
            log.warning("Postgres cannot be reached: decisions go on, usage is not taken")

    def note_return(self, asked: datetime) -> None:
        """Write down, now that it can be, how long Postgres did not answer and what was decided meanwhile."""
        since = self.silent_since or asked
        if datetime.now(UTC) - since > timedelta(seconds=_SILENCE):
            with epoch.locked(exclusive=True, wait_ms=5000):
                epoch.note_past(Outage.Server.POSTGRES, since, self.admitted, self.refused)
        self.silent_since, self.admitted, self.refused = None, 0, 0

    def watch_postgres(self) -> None:
        """Report until the process stops."""
        while not self.stopping.is_set():
            asked = datetime.now(UTC)
            try:
                self.report()
                self.note_return(asked)
                self.act()
                self.note_last_use()
            except (DatabaseError, InterfaceError) as error:
                log.info("renewal: %s", error)
                if isinstance(error.__cause__, LockNotAvailable):
                    self.stopping.wait(_PERIOD)
                    continue  # somebody changes who decides, which takes a moment
                with suppress(DatabaseError, InterfaceError):
                    connection.close()
                self.note_silence(asked)
            except Unavailable as error:
                log.info("renewal: %s", error)
            except Exception:
                # Without this thread the lease runs out and nobody decides: a mistake of ours must not end it.
                log.exception("renewal failed")
            self.stopping.wait(_PERIOD)

    # Valkey

    def renew(self) -> bool:
        """Renew the lease with what Postgres last confirmed; return whether Valkey decides now."""
        # The clock first: a confirmation that is taken back afterwards bounds what this renewal can prolong.
        self.asking = self.asking or epoch.monotonic()
        clock = epoch.valkey_clock()
        confirmed = self.confirmed
        self.reached, self.asking = epoch.monotonic(), 0.0
        if confirmed is None:
            return False
        # Whoever takes the decision away waits for this process as for one that renews to the last: the whole lease,
        # so that on a busy machine it does not run out between two renewals.
        age = timedelta(seconds=epoch.monotonic() - confirmed.asked)
        length = min(epoch.LEASE, epoch.GRACE - age)
        answer = valkey.call("renew", confirmed.epoch, epoch.until(clock, length))
        if answer[0] != b"ok":
            return False
        self.open_reservations = answer[1]
        return length > timedelta()

    def watch_valkey(self) -> None:
        """Renew until the process stops."""
        while not self.stopping.is_set():
            try:
                self.renew()
            except Unavailable as error:
                log.info("renewal: %s", error)
            except Exception:
                # Without this thread the lease runs out and nobody decides: a mistake of ours must not end it.
                log.exception("renewal failed")
            self.stopping.wait(_PERIOD)

    # For decisions

    def is_valkey_silent(self) -> bool:
        """Whether Valkey was asked and has not answered for a while; a process that got no turn knows nothing."""
        asking = self.asking
        return asking > 0 and epoch.monotonic() - asking > _SILENCE

    def postgres_decides(self) -> bool:
        """Whether, as far as this process knows, Valkey does not decide."""
        return self.state not in _BY_VALKEY

    def count(self, *, admitted: bool) -> None:
        """Count a decision, if Postgres does not answer meanwhile."""
        if self.silent_since is not None:
            if admitted:
                self.admitted += 1
            else:
                self.refused += 1


_renewal: Renewal | None = None


def start() -> Renewal:
    """Begin to renew in this process, once; a process that is forked off begins for itself."""
    global _renewal
    if _renewal is None:
        renewal = _renewal = Renewal()
        for work in (renewal.watch_postgres, renewal.watch_valkey):
            threading.Thread(target=work, name=f"renewal-{work.__name__}", daemon=True).start()
        atexit.register(stop)
        os.register_at_fork(after_in_child=_forked)
    return _renewal


def _forked() -> None:
    global _renewal
    if _renewal is not None:
        _renewal = None
        start()


def stop() -> None:
    """Stop renewing and strike this process off, so that nobody waits for it."""
    global _renewal
    renewal, _renewal = _renewal, None
    if renewal is None:
        return
    renewal.stopping.set()
    renewal.confirmed = None
    with suppress(Exception):
        last_use.write_heard()
    with suppress(Exception), transaction.atomic():
        Renewer.objects.filter(pk=renewal.id).update(acknowledged=datetime.now(UTC))


def here() -> Renewal | None:
    """Return what this process knows, if it renews."""
    return _renewal

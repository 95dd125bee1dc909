"""Bring what Postgres says to Valkey: after a commit, from the outbox, and in a rebuild."""

import json
import logging
from collections.abc import Iterable

from django.db import connection, transaction

from portal.decision import rebuild, state, valkey
from portal.decision.models import Outbox, Subject
from portal.lib.errors import Unavailable
from portal.lib.uuid7 import uuid7
from portal.spend import settled

log = logging.getLogger(__name__)


def publish(keys: Iterable[str]) -> None:
    """Publish the latest committed version of the subjects; raise Unavailable when Valkey cannot be reached.

    Safe to repeat and to race: an older version never replaces a newer one.
    """
    subjects = list(Subject.objects.filter(key__in=set(keys)))
    plain = [subject for subject in subjects if subject.key[:2] in ("s:", "p:", "w:", "n:")]
    if plain:
        valkey.call("put", *(part for row in plain for part in (row.key, row.version, json.dumps(row.data))))
    for subject in subjects:
        if subject.key == "cfg":
            text = json.dumps({**subject.data, "version": subject.version})
            valkey.call("put_configuration", subject.version, text)
        elif subject.key.startswith("l:"):
            _publish_limits(subject.key)


def _publish_limits(key: str) -> None:
    for _ in range(5):
        now, watcher = state.server_time(), uuid7().hex
        if valkey.call("watch", watcher)[0] == b"rebuild":
            rebuild.ensure_ready()
            continue
        with transaction.atomic(durable=True):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            seen = settled.snapshot()
            subject = Subject.objects.get(pk=key)
            zone = Subject.objects.get(pk="cfg").data["zone"]
            current = state.calendar(now, zone)
            scope_key = key[2:]
            found = settled.settled(state.limit_keys(scope_key, subject.data), current)
        answer = valkey.call(
            "put_limits",
            scope_key,
            subject.version,
            json.dumps(subject.data),
            json.dumps(state.counter_rows(found)),
            state.snapshot_json(seen),
            *(current[kind].start for kind in ("day", "week", "month")),
            watcher,
        )
        valkey.call("unwatch", watcher)
        if answer[0] == b"ok":
            return
        rebuild.ensure_ready()
    raise Unavailable("the decision state is being rebuilt")


def publish_and_clear(keys: Iterable[str], up_to: int) -> None:
    """Publish after a commit and clear the outbox; what fails stays there for the job."""
    keys = list(keys)
    try:
        publish(keys)
    except Unavailable as error:
        log.warning("not published yet, the outbox will: %s", error)
        return
    Outbox.objects.filter(key__in=keys, id__lte=up_to).delete()


def drain() -> int:
    """Publish what is left in the outbox; return how many entries were cleared."""
    rows = list(Outbox.objects.order_by("id")[:1000])
    if not rows:
        return 0
    publish({row.key for row in rows})
    return Outbox.objects.filter(id__in=[row.id for row in rows]).delete()[0]

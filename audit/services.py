"""Write the audit log: in the transaction of the change, or not at all."""

import hashlib
import hmac
import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from audit.actions import Action, Outcome
from audit.actors import Actor, Target
from audit.models import AuditEntry
from audit.registry import is_ignored, is_redacted
from audit.selectors import first_id
from portal.lib.secrets import without_secrets
from portal.lib.uuid7 import uuid7

_VIEW_LASTS = timedelta(hours=1)
Changes = Mapping[str, tuple[Any, Any] | list[Any]]


class NotInTransaction(RuntimeError):
    """`record` was called outside a transaction: the entry could outlive a change that never happened."""


def _mark(before: Any, after: Any, value: Any) -> dict[str, Any] | None:
    """Return what the log keeps of a secret value: that it changed, and a fingerprint to compare, not the value."""
    if value is None:
        return None
    mark = hmac.new(settings.SECRET_KEY.encode(), _bytes(value), hashlib.sha256).hexdigest()[:12]
    return {"redacted": True, "changed": _bytes(before) != _bytes(after), "fp": mark}


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value or "").encode()


def _kept(target: str, changes: Changes) -> dict[str, list[Any]]:
    """Return changes as the log keeps them; the registry says what of them."""
    return {
        name: [_mark(before, after, before), _mark(before, after, after)]
        if is_redacted(target, name)
        else [plain(before), plain(after)]
        for name, (before, after) in changes.items()
        if not is_ignored(target, name)
    }


def record(
    action: Action,
    *,
    actor: Actor,
    target: Target,
    changes: Changes | None = None,
    project: int | None = None,
    group: int | None = None,
    comment: str = "",
    outcome: Outcome = Outcome.SUCCESS,
    reason: str = "",
) -> uuid.UUID:
    """Write one entry in the current transaction; raise NotInTransaction when there is none.

    ``changes`` maps a field to ``(before, after)``. The entry appears if and only if the transaction commits.
    """
    if not connection.in_atomic_block:
        raise NotInTransaction(action)
    entry = _entry(action, actor, target, changes, project, group, comment, outcome, reason)
    entry.save(force_insert=True)
    return entry.id


def record_all(action: Action, found: Iterable[tuple[Target, Changes]], *, actor: Actor) -> None:
    """Write one entry for each target, as `record` does, in few statements however many there are."""
    if not connection.in_atomic_block:
        raise NotInTransaction(action)
    entries = [_entry(action, actor, target, changes) for target, changes in found]
    AuditEntry.objects.bulk_create(entries, batch_size=500)


def _entry(
    action: Action,
    actor: Actor,
    target: Target,
    changes: Changes | None,
    project: int | None = None,
    group: int | None = None,
    comment: str = "",
    outcome: Outcome = Outcome.SUCCESS,
    reason: str = "",
) -> AuditEntry:
    fields: dict[str, Any] = {
        "id": uuid7(),
        "occurred": datetime.now(UTC),
        "action": str(action),
        "outcome": str(outcome),
        "reason": _clean(reason),
        "actor_type": actor.type,
        "actor_id": _clean(actor.id)[:200],
        "actor_display": _clean(actor.display)[:300],
        "actor_tid": actor.tid,
        "actor_oid": actor.oid,
        "auth": _clean(actor.auth)[:200],
        "session": actor.session,
        "ip": actor.ip,
        "user_agent": _clean(actor.user_agent)[:512],
        "request_id": _clean(actor.request_id)[:64],
        "group_id": group,
        "project_id": project,
        "target_type": target.type,
        "target_id": _clean(target.id)[:200],
        "target_label": _clean(target.label)[:300],
        "changes": _kept(target.type, changes or {}),
        "comment": _clean(comment),
    }
    canonical = json.dumps(
        {name: plain(value) for name, value in fields.items()},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return AuditEntry(canonical=canonical, **fields)


def record_refused(
    action: Action,
    *,
    actor: Actor,
    target: Target,
    reason: str,
    project: int | None = None,
    group: int | None = None,
    outcome: Outcome = Outcome.REFUSED,
) -> None:
    """Write a refusal or failure in a transaction of its own, which no rollback of the caller can undo.

    Call it after the caller's transaction has ended.
    """
    with transaction.atomic(durable=True):
        record(
            action, actor=actor, target=target, project=project, group=group, reason=reason, outcome=outcome
        )


def record_export(
    action: Action,
    *,
    actor: Actor,
    target: Target,
    changes: Changes,
    project: int | None = None,
    comment: str = "",
) -> None:
    """Write, in a transaction of its own, that somebody takes data out; call it before the first line leaves."""
    with transaction.atomic(durable=True):
        record(action, actor=actor, target=target, changes=changes, project=project, comment=comment)


def record_list_export(
    name: str, *, actor: Actor, filters: str, rows: int, project: int | None = None
) -> None:
    """Write that somebody takes a list out (``projects``), with its filters as the address has them."""
    record_export(
        Action.LIST_EXPORTED,
        actor=actor,
        target=Target("list", name, name),
        changes={"filters": (None, filters), "rows": (None, rows)},
        project=project,
    )


def record_view(action: Action, *, actor: Actor, target: Target) -> None:
    """Write, in a transaction of its own, that somebody looks at something: once for a person and an hour.

    Looking again costs one question to the index of the person's latest entries.
    """
    seen = AuditEntry.objects.filter(
        actor_id=actor.id,
        id__gte=first_id(datetime.now(UTC) - _VIEW_LASTS),
        action=action,
        target_type=target.type,
        target_id=target.id,
    )
    if seen.exists():
        return
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(7345002, hashtext(%s))", [f"{action} {actor.id}"])
        if not seen.exists():
            record(action, actor=actor, target=target)


def _clean(text: str) -> str:
    """Postgres stores no NUL, and the log no secret that somebody pasted into a search; nothing else is taken away."""
    return without_secrets(text.replace("\x00", "�"))


def plain(value: Any) -> Any:
    """Return a value as the log keeps it."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return _clean(str(value))

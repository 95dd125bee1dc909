"""Write the fact sheets of the decision, in the transaction of the change they belong to."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from django.db import DatabaseError, InterfaceError, connection, transaction

from portal.decision import valkey
from portal.decision.models import Outbox, Subject
from portal.lib.errors import Unavailable
from portal.lib.money import to_nano
from portal.organization.selectors import current as current_organization
from portal.spend.models import Limit, ModelAlias, Price
from portal.spend.scopes import Scope
from portal.spend.touched import touch

# A deny mark outlives every transaction and no crash for long.
DENY_SECONDS = 300

_denied: ContextVar[list[tuple[str, int]] | None] = ContextVar("denied", default=None)


def put(key: str, data: dict[str, Any], *, deny: str | None = None) -> None:
    """Write a subject and publish it on commit. Must run in a transaction.

    ``deny`` is the code to refuse with from now on, before the commit; whatever is published with this version or a
    later one ends that.
    """
    with connection.cursor() as cursor:
        # The version is taken while the row is locked, so that later versions hold later data.
        cursor.execute(
            "INSERT INTO decision_subject (key, data, version) VALUES (%s, '{}', 0) ON CONFLICT (key) DO NOTHING",
            [key],
        )
        cursor.execute("SELECT 1 FROM decision_subject WHERE key = %s FOR UPDATE", [key])
        cursor.execute("SELECT nextval('decision_version_seq')")
        version = cursor.fetchone()[0]
    if deny is not None:
        _deny(key, deny, version)
    Subject.objects.filter(pk=key).update(data=data, version=version)
    announce([key])


def announce(keys: Iterable[str]) -> None:
    """Have the subjects published on commit; the outbox repairs what a crash cuts off."""
    from portal.decision.publish import publish_and_clear  # publishing needs the whole package

    wanted = sorted(set(keys))
    rows = Outbox.objects.bulk_create([Outbox(key=key) for key in wanted])
    last = max(row.id for row in rows)
    transaction.on_commit(lambda: publish_and_clear(wanted, last))


def put_credential(
    *,
    key_id: str,
    kind: str,
    pepper_id: int,
    digest: bytes,
    state: str,
    expires: datetime | None,
    not_before: datetime | None = None,
    project: int,
    person: int | None = None,
    draws_on: int | None = None,
    is_member: bool = True,
    models: list[str] | None = None,
    networks: list[str] | None = None,
    user: str = "",
    previous: tuple[int, bytes, datetime] | None = None,
    names_users: bool = False,
) -> None:
    """Write what the decision must know of a user token or API key.

    ``state`` is ``active``, ``revoked`` or ``suspended``; ``networks`` are CIDR blocks, ``user`` is for display.
    Before ``not_before`` a call is refused like one with a suspended credential.
    ``previous`` is the secret before the last rotation, which stays valid until a deadline: pepper, digest, deadline.
    ``names_users`` lets the call name the person it is made for (see `put_named_users`).
    """
    touch([project])
    put(
        f"s:{key_id}",
        {
            "kind": kind,
            "pepper": pepper_id,
            "digest": bytes(digest).hex(),
            "state": state,
            "expires": int(expires.timestamp()) if expires else None,
            "not_before": math.ceil(not_before.timestamp()) if not_before else None,
            "project": project,
            "person": person,
            "draws_on": draws_on,
            "is_member": is_member,
            "models": models,
            "networks": [_bits(network) for network in networks] if networks else None,
            "user": user,
            "previous": [previous[0], bytes(previous[1]).hex(), int(previous[2].timestamp())]
            if previous
            else None,
            "names_users": names_users,
        },
        deny=None if state == "active" else f"credential_{state}",
    )


def set_membership(key_ids: Iterable[str], *, is_member: bool) -> None:
    """Note on credentials whether their person is still a member of the project."""
    for subject in Subject.objects.filter(key__in=[f"s:{key_id}" for key_id in key_ids]).order_by("key"):
        put(
            subject.key,
            {**subject.data, "is_member": is_member},
            deny=None if is_member else "not_a_member",
        )


def put_project(
    *, pk: int, code: str, name: str, state: str, group: int | None, models: list[str] | None
) -> None:
    """Write what the decision must know of a project; ``state`` is ``active``, ``paused`` or ``archived``."""
    touch([pk])
    put(
        f"p:{pk}",
        {"code": code, "name": name, "state": state, "group": group, "models": models},
        deny=None if state == "active" else "project_inactive",
    )


def put_named_users(project_pk: int, users: Mapping[str, tuple[int, str]]) -> None:
    """Write whom a project's keys may name: (person, display name) by e-mail address in lower case.

    An address that two people share must not be there: a call that names it is refused.
    """
    put(f"n:{project_pk}", {"users": {email: list(named) for email, named in users.items()}})


def put_gateway(*, key_id: str, pepper_id: int, digest: bytes, state: str, name: str) -> None:
    """Write what the decision must know of a gateway; ``state`` is ``active`` or ``revoked``."""
    put(
        f"w:{key_id}",
        {"pepper": pepper_id, "digest": bytes(digest).hex(), "state": state, "name": name, "projects": None},
        deny=None if state == "active" else "gateway_unknown",
    )


def put_limits(scope_key: str, label: str) -> None:
    """Write the limits of a scope as they are now; ``label`` is how a refusal names the scope."""
    scope = Scope(scope_key)
    if scope.code == "project" and scope.project is not None:
        touch([scope.project])
    rows = Limit.objects.filter(scope_key=scope_key).order_by("metric", "window", "model")
    limits = [
        [limit.metric, limit.window, limit.model, limit.mode, *divmod(limit.amount, 10**9)] for limit in rows
    ]
    put(f"l:{scope_key}", {"label": label, "limits": limits})


def relabel(scope_key: str, label: str) -> None:
    """Give the limits of a scope another name, if it has any."""
    subject = Subject.objects.filter(pk=f"l:{scope_key}").first()
    if subject and subject.data["label"] != label:
        put(subject.key, {**subject.data, "label": label})


def put_configuration() -> None:
    """Write time zone, currency, prices and aliases as they are now."""
    organization = current_organization()
    prices: dict[str, list[list[Any]]] = {}
    for price in Price.objects.order_by("model", "effective", "id"):
        prices.setdefault(price.model, []).append(
            [
                price.id,
                int(price.effective.timestamp() * 1000),
                to_nano(price.input),
                to_nano(price.input if price.cached_input is None else price.cached_input),
                to_nano(price.input if price.cache_write is None else price.cache_write),
                to_nano(price.output),
                price.ceiling,
                price.context_window,
            ]
        )
    data = {
        "zone": organization.zone,
        "currency": organization.currency,
        "organization": organization.name,
        "failure": [organization.failure_policy, organization.failure_amount],
        "aliases": dict(ModelAlias.objects.values_list("alias", "model")),
        "prices": prices,
    }
    put("cfg", data)


def ensure_configuration() -> None:
    """Write the configuration if it never was."""
    if not Subject.objects.filter(pk="cfg").exists():
        with transaction.atomic():
            put_configuration()


def _bits(network: str) -> str:
    block = ip_network(network, strict=False)
    value, length = int(block.network_address), block.prefixlen
    if block.version == 4:
        value, length = (0xFFFF << 32) | value, length + 96
    return format(value, "0128b")[:length]


def _deny(key: str, code: str, version: int) -> None:
    """Refuse at once, before the commit. Without Valkey nothing is decided, so nothing is missed."""
    denied = _denied.get()
    if denied is not None:
        denied.append((key, version))
    with suppress(Unavailable):
        valkey.command("SET", f"d:{key}", f"{code}|{version}", "EX", DENY_SECONDS)


@contextmanager
def denying() -> Iterator[None]:
    """Wrap a transaction that may revoke, suspend or pause: deny marks come first and go if it fails.

    Usage: ``with denying(), transaction.atomic(durable=True): …``
    """
    marks: list[tuple[str, int]] = []
    token = _denied.set(marks)
    try:
        yield
    except BaseException:
        _undeny(marks)
        raise
    finally:
        _denied.reset(token)


def _undeny(marks: list[tuple[str, int]]) -> None:
    """Lift the marks of a change that did not happen. If that cannot be told, they fall away by themselves."""
    if not marks:
        return
    try:
        # A commit whose answer was lost has happened all the same: then publishing lifts the mark.
        written = dict(
            Subject.objects.filter(key__in=[key for key, _ in marks]).values_list("key", "version")
        )
        undone = [(key, version) for key, version in marks if written.get(key, 0) < version]
        valkey.call("undeny", *(part for mark in undone for part in mark))
    except (Unavailable, DatabaseError, InterfaceError):
        # The marks stay until they expire: refusing for minutes is safer than admitting.
        return

"""The identity of a replay: a gateway and a user token of its own, for as long as it runs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Min

from audit.actors import Actor
from portal.accounts.models import Person
from portal.accounts.services import person_without_identity
from portal.gateway.models import Gateway
from portal.gateway.services import register_gateway, revoke_gateway, rotate_gateway
from portal.lib.errors import Unavailable
from projects.models import Membership, Project
from projects.services import add_member, remove_member
from tokens.models import UserToken
from tokens.services import issue_token, revoke_token

# Who the calls of every replay belong to; the name is reserved, so no mail can ever reach it.
_PERSON = "trace-replay@portal.invalid"
_SERVERS_BACK_WITHIN = 120.0
_LOCK = 7345005
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Run:
    """A run that may send calls; ``gateway_secret`` and ``token_secret`` are kept nowhere else."""

    name: str
    gateway: Gateway
    gateway_secret: str
    token: UserToken
    token_secret: str


@dataclass(frozen=True, slots=True)
class Booked:
    """What the portal has booked for all gateways of a run; ``spend`` in nano-units."""

    calls: int
    spend: int


def _title(run: str) -> str:
    return f"replay {run}"


@contextmanager
def alone(run: str) -> Iterator[bool]:
    """Whether nobody else replays the run; the lock ends with the connection that holds it."""
    own = connection.copy()
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_LOCK, run])
            mine = bool(cursor.fetchone()[0])
        yield mine
    finally:
        own.close()


def open_run(*, run: str, project: Project, actor: Actor, reason: str = "") -> Run:
    """Register what the run needs. One that was cut off goes on under the same gateway with another secret."""
    title = _title(run)
    person = person_without_identity(email=_PERSON, name="Trace replay", actor=actor)
    if not Membership.objects.filter(project=project, person=person).exists():
        add_member(project=project, person=person, actor=actor, reason=reason)
    _revoke_tokens(project, person, title, actor)
    # A run that is killed and never resumed leaves a token that soon ends by itself.
    token, token_secret = issue_token(
        project=project, person=person, name=title, days=1, actor=actor, reason=reason
    )
    left = Gateway.objects.filter(name=title, revoked__isnull=True).first()
    if left is not None:
        gateway, gateway_secret = rotate_gateway(gateway=left, actor=actor, reason=reason)
    else:
        gateway, gateway_secret = register_gateway(name=title, actor=actor, reason=reason)
    return Run(run, gateway, gateway_secret, token, token_secret)


def close_run(opened: Run, *, actor: Actor) -> None:
    """Revoke what the run was given; wait for servers that are being restarted."""

    def close() -> None:
        project, person = opened.token.project, opened.token.person
        _revoke_tokens(project, person, opened.token.name, actor)
        revoke_gateway(gateway=opened.gateway, actor=actor)
        others = UserToken.objects.active().filter(project=project, person=person)
        is_member = Membership.objects.filter(project=project, person=person).exists()
        if is_member and not others.exists():
            remove_member(project=project, person=person, actor=actor)

    patiently(close)


def _revoke_tokens(project: Project, person: Person, title: str, actor: Actor) -> None:
    for token in UserToken.objects.active().filter(project=project, person=person, name=title):
        revoke_token(token=token, actor=actor)


def settled_before(opened: Run) -> set[str]:
    """Return the request ids that earlier gateways of the run, revoked since, have settled."""
    earlier = Gateway.objects.filter(name=_title(opened.name)).exclude(pk=opened.gateway.pk)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT request_id FROM usage_key WHERE state = 's' AND gateway = ANY(%s)",
            [list(earlier.values_list("key_id", flat=True))],
        )
        return {row[0] for row in cursor.fetchall()}


def booked(run: str) -> Booked:
    """Return what ledger and inbox hold for the run."""

    def ask() -> Booked:
        of_run = Gateway.objects.filter(name=_title(run))
        first = of_run.aggregate(first=Min("created"))["first"]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(calls), 0), coalesce(sum(spend), 0) FROM ("
                " SELECT calls, spend FROM usage_inbox WHERE gateway = ANY(%(gateways)s)"
                " UNION ALL SELECT calls, spend FROM ledger WHERE moment >= %(first)s AND gateway = ANY(%(gateways)s))"
                " AS booked",
                {"gateways": list(of_run.values_list("key_id", flat=True)), "first": first},
            )
            calls, spend = cursor.fetchone()
        return Booked(int(calls), int(spend))

    return patiently(ask)


def patiently(work: Callable[[], _T]) -> _T:
    """Do the work; while the servers are away try again for a while. The work is safe to repeat."""
    deadline = time.monotonic() + _SERVERS_BACK_WITHIN
    while True:
        try:
            return work()
        except (OperationalError, InterfaceError, Unavailable) as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"the servers are away: {error}") from error
            connection.close()
            time.sleep(0.2)

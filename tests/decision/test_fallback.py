"""Valkey is away: Postgres decides by the same rules, never while Valkey may, and hands back all that it holds."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from apikeys.models import ApiKey
from audit.actions import Action
from audit.models import AuditEntry
from portal.decision import (
    decide,
    decider,
    epoch,
    fallback,
    fallback_jobs,
    jobs,
    last_use,
    rebuild,
    renewal,
    reservation,
    usage,
    valkey,
)
from portal.decision.decide import Allowed, Call, Refused
from portal.decision.models import Decider, Outage, Rebuild, Renewer
from portal.gateway import known
from portal.gateway.models import Gateway
from portal.lib.errors import Unavailable
from portal.spend import scopes
from portal.spend.models import Refusal
from tests.decision.world import ACTOR, World
from tokens.models import UserToken
from tokens.services import revoke_token

DAY = (scopes.ORGANIZATION, "requests", "day", "")


@pytest.fixture
def world(clean_state: None) -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Return a switch for this process's way to Valkey."""
    real = valkey.command

    def unreachable(*_: Any) -> Any:
        raise Unavailable("Valkey cannot be reached")

    def switch(is_cut: bool) -> None:
        monkeypatch.setattr(valkey, "command", unreachable if is_cut else real)
        decider._last_move = 0.0

    yield switch
    switch(False)


def go_back(by: timedelta) -> None:
    """Let time pass for everything that Postgres remembers of who decides."""
    seconds = by.total_seconds()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE decision_decider SET changed = changed - make_interval(secs => %s)", [seconds])
        cursor.execute(
            "UPDATE decision_renewer SET seen = seen - b.by, reached = reached - b.by,"
            " acknowledged = acknowledged - b.by FROM make_interval(secs => %s) AS b (by)",
            [seconds],
        )


def fall_back(cut: Callable[[bool], None]) -> None:
    valkey.command("DEL", "meta")  # as when the lease has run out
    cut(True)
    assert epoch.move() == epoch.State.MOVING
    go_back(epoch.LEASE + epoch.MARGIN)
    assert epoch.move() == epoch.State.POSTGRES


def ask(world: World, number: int, request_id: str = "", who: int = 0) -> Any:
    call = Call(
        world.credentials[who].secret,
        "small",
        request_id or f"call-{number}",
        input_tokens=100,
        max_output_tokens=50,
    )
    return decider.authorize(world.gateway_secret, call, now_ms=world.now)


def test_postgres_decides_only_after_valkeys_lease_has_surely_run_out(
    world: World, cut: Callable[[bool], None]
) -> None:
    world.set_limit(DAY, 3)
    assert isinstance(ask(world, 1), Allowed)
    cut(True)
    with pytest.raises(Unavailable):
        ask(world, 2)
    assert Decider.objects.get().state == epoch.State.MOVING
    go_back(epoch.LEASE + epoch.MARGIN)
    decider._last_move = 0.0
    # The reservation that Valkey made is unknown to Postgres: it is counted when its usage arrives.
    assert [isinstance(ask(world, number), Allowed) for number in (2, 3, 4, 5)] == [True, True, True, False]
    assert Refusal.objects.get().binding == "o|requests|day|"


def test_last_uses_are_noted_while_postgres_decides(world: World, cut: Callable[[bool], None]) -> None:
    fall_back(cut)
    for number in range(3):
        ask(world, number)
    assert known.gateway(world.gateway_secret)
    renewal.Renewal(noted=0.0).note_last_use()
    key_id = world.credentials[0].key_id
    (used,) = [*UserToken.objects.filter(key_id=key_id), *ApiKey.objects.filter(key_id=key_id)]
    gateway = Gateway.objects.get()
    assert used.last_used is not None
    assert int(used.last_used.timestamp()) == world.now // 1000
    assert used.last_used_gateway == gateway.key_id
    assert gateway.last_used is not None
    assert last_use.write_heard() == 0


def test_while_anybody_reaches_valkey_it_goes_on_deciding(world: World, cut: Callable[[bool], None]) -> None:
    renewer(reached=timezone.now())
    cut(True)
    with pytest.raises(Unavailable):
        ask(world, 1)
    assert Decider.objects.get().state == epoch.State.VALKEY


def test_a_process_that_may_renew_without_postgres_is_waited_for(
    world: World, cut: Callable[[bool], None]
) -> None:
    gone = renewer(reached=timezone.now() - timedelta(seconds=60))
    cut(True)
    assert epoch.move() == epoch.State.MOVING
    go_back(epoch.LEASE + epoch.MARGIN)
    assert epoch.move() == epoch.State.MOVING  # it may have lost Postgres alone, and renew
    go_back(epoch.GRACE)
    assert epoch.move() == epoch.State.POSTGRES
    gone.refresh_from_db()
    assert gone.acknowledged is None


def test_a_process_that_is_dead_is_waited_for_no_longer_than_a_lease(
    world: World, cut: Callable[[bool], None]
) -> None:
    renewer(reached=timezone.now() - timedelta(seconds=60), place=epoch.place(), pid=2**22 + 1)
    cut(True)
    assert epoch.move() == epoch.State.MOVING
    go_back(epoch.LEASE + epoch.MARGIN)
    assert epoch.move() == epoch.State.POSTGRES


def renewer(**values: Any) -> Renewer:
    known = {"place": "elsewhere", "pid": 1, "started": 1, "seen": timezone.now(), **values}
    return Renewer.objects.create(id=uuid4(), **known)


def test_valkey_refuses_once_its_lease_has_run_out_and_a_late_renewal_prolongs_nothing(world: World) -> None:
    number = Decider.objects.get().epoch
    assert valkey.call("renew", number, epoch.until(epoch.valkey_clock()))[0] == b"ok"
    valkey.command("PEXPIRE", "meta", 1)
    while valkey.command("EXISTS", "meta"):
        pass
    assert valkey.call("state")[0] == b"rebuild"
    assert valkey.call("renew", number, int(epoch.valkey_clock() * 1000) - 10)[0] == b"ok"
    assert valkey.call("state")[0] == b"rebuild"
    assert valkey.call("renew", number + 1, epoch.until(epoch.valkey_clock()))[0] == b"rebuild"
    decide.ask("state")  # in step: renewed, not rebuilt
    assert Rebuild.objects.count() == 1


def test_reservations_of_both_are_held_once_after_valkey_has_returned(
    world: World, cut: Callable[[bool], None]
) -> None:
    world.set_limit(DAY, 10)
    of_valkey = [ask(world, number) for number in range(3)]
    fall_back(cut)
    of_postgres = [ask(world, number) for number in range(3, 7)]
    assert all(isinstance(answer, Allowed) for answer in of_valkey + of_postgres)
    again = ask(world, 3)
    assert (again.reservation_id, again.expires) == (of_postgres[0].reservation_id, of_postgres[0].expires)
    for answer in (of_valkey[0], of_postgres[0]):
        report(world, answer, of_valkey + of_postgres)
    fallback_jobs.move_usage()
    for answer in (of_valkey[1], of_postgres[1]):
        decider.release(reservation.decode(answer.reservation_id))  # type: ignore[arg-type]
    for answer in (of_valkey[2], of_postgres[2]):
        assert decider.extend(reservation.decode(answer.reservation_id), now_ms=world.now + 1000)  # type: ignore[arg-type]
    cut(False)
    assert isinstance(ask(world, 100), Allowed)
    assert Decider.objects.get().state == epoch.State.VALKEY
    # Two are settled; open are one of Valkey's, two of Postgres', and the new one.
    assert world.counted(["k:o|requests|day|"]) == {"k:o|requests|day|": (2, 4)}
    rebuilt = Rebuild.objects.latest("id")
    assert (rebuilt.kept_reservations, rebuilt.carried_reservations) == (1, 2)
    assert ask(world, 1).code == "request_id_reused"
    assert ask(world, 4).code == "request_id_reused"
    for answer in (of_valkey[2], of_postgres[2], of_postgres[3]):
        report(world, answer, of_valkey + of_postgres)
    jobs.move_usage()
    assert world.counted(["k:o|requests|day|"]) == {"k:o|requests|day|": (5, 1)}


def report(world: World, answer: Any, answers: list[Any]) -> None:
    event = usage.Event(
        0,
        f"call-{answers.index(answer)}",
        "small",
        timezone.now(),
        10,
        5,
        "ok",
        reservation_id=answer.reservation_id,
    )
    assert usage.record(world.gateway, [event], world.now).accepted == 1


def test_what_expires_while_postgres_decides_is_estimated_and_late_usage_reverses_it(
    world: World, cut: Callable[[bool], None]
) -> None:
    world.set_limit(DAY, 10)
    fall_back(cut)
    answer = ask(world, 0)
    assert fallback_jobs.expire(now_ms=answer.expires) == 1
    assert fallback_jobs.expire(now_ms=answer.expires) == 0
    assert ask(world, 1).rows[0].settled == 1
    report(world, answer, [answer])
    row = ask(world, 2).rows[0]
    assert (row.settled, row.reserved) == (1, 2)


def test_a_call_that_nobody_will_report_is_estimated_at_once_while_postgres_decides(
    world: World, cut: Callable[[bool], None]
) -> None:
    fall_back(cut)
    held = reservation.decode(ask(world, 0).reservation_id)
    assert held is not None
    fallback.end(held)
    assert fallback.extend(held) is None
    assert fallback_jobs.expire() == 1


def test_a_revocation_a_new_limit_and_a_price_count_from_the_next_call_on(
    world: World, cut: Callable[[bool], None]
) -> None:
    from tokens.models import UserToken

    fall_back(cut)
    assert isinstance(ask(world, 1), Allowed)
    world.set_limit(DAY, 1)
    assert ask(world, 2).code == "limit_exceeded"
    revoke_token(token=UserToken.objects.get(key_id=world.credentials[0].key_id), actor=ACTOR)
    assert ask(world, 3).code == "credential_revoked"
    assert ask(world, 4, who=1).code == "limit_exceeded"


def test_many_at_once_are_granted_no_more_than_the_limit(world: World, cut: Callable[[bool], None]) -> None:
    world.set_limit((scopes.ORGANIZATION, "spend", "month", ""), 20 * 200_000)
    fall_back(cut)

    def one(number: int) -> str:
        try:
            answer = ask(world, number, who=number % 4)
        except Unavailable:
            return "busy"
        finally:
            connection.close()
        return "allow" if isinstance(answer, Allowed) else answer.code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(60)))
    assert answers.count("allow") == 20
    assert set(answers) <= {"allow", "limit_exceeded", "busy"}


def test_an_outage_is_written_down_when_it_begins_and_when_it_ends(
    world: World, cut: Callable[[bool], None]
) -> None:
    world.set_limit(DAY, 1)
    fall_back(cut)
    assert isinstance(ask(world, 1), Allowed)
    assert isinstance(ask(world, 2), Refused)
    cut(False)
    rebuild.ensure_ready()
    outage = Outage.objects.get()
    assert (outage.server, outage.ended is not None) == ("valkey", True)
    actions = list(
        AuditEntry.objects.filter(action__startswith="outage").order_by("id").values_list("action", flat=True)
    )
    assert actions == [Action.OUTAGE_BEGAN, Action.OUTAGE_ENDED]


def test_postgres_refuses_to_decide_while_valkey_does(world: World) -> None:
    call = Call(world.credentials[0].secret, "small", "call", input_tokens=1, max_output_tokens=1)
    with pytest.raises(fallback.NotDeciding):
        fallback.authorize(world.gateway_secret, call)

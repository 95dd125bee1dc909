"""Changes hold from the very next call: revocations before their commit, everything else with it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from portal.accounts.models import Person
from portal.decision import decide, jobs, publish, rebuild, reservation, services, subjects, usage, valkey
from portal.decision.decide import Allowed, Refused
from portal.decision.models import Outbox, Subject
from portal.gateway.models import Gateway
from portal.gateway.services import revoke_gateway, rotate_gateway
from portal.lib.errors import RuleBroken
from portal.spend import inbox, scopes
from projects.services import add_member, remove_member, set_project_state
from tests.decision.world import ACTOR, Booked, World
from tokens.models import UserToken
from tokens.services import revoke_token


@pytest.fixture
def world(clean_state: None) -> Iterator[World]:
    made = World()
    yield made
    made.close()


def code(world: World, number: int = 0, **tokens: int) -> str:
    answer = world.authorize(world.credentials[number], "small", tokens.get("size", 1), 0)
    return answer.code if isinstance(answer, Refused) else "allow"


def token(world: World, number: int = 0) -> UserToken:
    return UserToken.objects.get(key_id=world.credentials[number].key_id)


def test_a_revoked_token_is_refused_from_the_next_call_on_and_after_a_loss_of_data(world: World) -> None:
    assert code(world) == "allow"
    revoke_token(token=token(world), actor=ACTOR)
    assert code(world) == "credential_revoked"
    assert valkey.command("KEYS", "d:*") == []
    valkey.command("FLUSHALL")
    assert code(world) == "credential_revoked"
    assert code(world, 1) == "allow"


def test_a_revocation_refuses_before_its_commit_and_not_after_its_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def fail(*_: Any, **__: Any) -> None:
        seen.append(code(world))
        raise RuleBroken("The audit log is full.")

    monkeypatch.setattr("tokens.services.record", fail)
    with pytest.raises(RuleBroken):
        revoke_token(token=token(world), actor=ACTOR)
    assert seen == ["credential_revoked"]
    assert code(world) == "allow"


def test_a_deny_mark_outlasts_older_news_and_a_rebuild(world: World) -> None:
    key = f"s:{world.credentials[0].key_id}"
    with transaction.atomic():
        subject = Subject.objects.get(pk=key)
        subjects.put(key, {**subject.data, "state": "revoked"}, deny="credential_revoked")
        valkey.command("DEL", key)
        valkey.call("put", key, subject.version, json.dumps(subject.data))
        assert code(world) == "credential_revoked"
        transaction.set_rollback(True)
    valkey.call("undeny", key, subject.version)  # somebody else's
    assert code(world) == "credential_revoked"
    rebuild.rebuild("a test")
    assert code(world) == "credential_revoked"
    mark = valkey.command("GET", f"d:{key}").decode()
    valkey.call("undeny", key, mark.rpartition("|")[2])
    assert code(world) == "allow"


def test_pausing_leaving_and_revoking_the_gateway_refuse_the_next_call(world: World) -> None:
    project = set_project_state(project=world.projects[0], state="paused", actor=ACTOR)
    assert code(world) == "project_inactive"
    assert code(world, 2) == "allow"
    set_project_state(project=project, state="active", actor=ACTOR)
    assert code(world) == "allow"
    held = token(world, 1)
    other = Person.objects.create(name="Zoe", email="zoe@example.org")
    add_member(project=held.project, person=other, role="owner", actor=ACTOR)
    remove_member(project=held.project, person=held.person, actor=ACTOR)
    assert code(world, 1) == "not_a_member"
    gateway = Gateway.objects.get(key_id=world.gateway)
    old = world.gateway_secret
    _, world.gateway_secret = rotate_gateway(gateway=gateway, actor=ACTOR)
    assert code(world) == "allow"
    new, world.gateway_secret = world.gateway_secret, old
    assert code(world) == "gateway_unknown"
    world.gateway_secret = new
    revoke_gateway(gateway=gateway, actor=ACTOR)
    assert code(world) == "gateway_unknown"


def test_what_a_crash_kept_from_being_published_is_published_from_the_outbox(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "publish_and_clear", lambda *_: None)
    world.set_limit((scopes.ORGANIZATION, "requests", "day", ""), 0)
    assert code(world) == "allow"
    assert publish.drain() > 0
    assert code(world) == "limit_exceeded"
    assert not Outbox.objects.exists()


def test_a_named_limit_that_goes_leaves_what_the_user_has_used(world: World) -> None:
    each, named = scopes.EACH_USER, scopes.user(world.people[0])
    world.set_limit((each, "requests", "day", ""), 3)
    world.set_limit((named, "requests", "day", ""), 5)
    for _ in range(4):
        assert code(world) == "allow"
    world.set_limit((named, "requests", "day", ""), None)
    assert code(world) == "limit_exceeded"
    assert code(world, 1) == "allow"
    world.set_limit((named, "requests", "day", ""), 5)
    assert code(world) == "allow"
    assert code(world) == "limit_exceeded"
    world.check()


def test_a_limit_of_calls_in_flight_set_again_knows_who_is_in_flight(world: World) -> None:
    key = (scopes.project(world.projects[0].pk), "concurrency", "none", "")
    for _ in range(2):
        assert code(world) == "allow"
    world.set_limit(key, 3)
    assert code(world) == "allow"
    assert code(world) == "limit_exceeded"
    world.set_limit(key, None)
    assert code(world) == "allow"
    world.set_limit(key, 4)
    assert code(world) == "limit_exceeded"
    world.settle(world.held[0], 1, 0)
    assert code(world) == "allow"
    world.check()


def test_a_new_time_zone_holds_from_the_next_day_on(world: World) -> None:
    world.now = int(datetime.now(UTC).replace(hour=20, minute=0).timestamp() * 1000)
    world.set_limit((scopes.ORGANIZATION, "requests", "day", ""), 1)
    assert code(world) == "allow"
    services.update_organization(time_zone="Asia/Tokyo", actor=ACTOR)  # where it is tomorrow already
    assert code(world) == "limit_exceeded"
    rebuild.rebuild("a test")
    assert code(world) == "limit_exceeded"
    world.now += (
        4 * 3_600_000 + 1000
    )  # the day has ended where it began: now a short one, to midnight in Tokyo
    assert code(world) == "allow"
    answer = world.authorize(world.credentials[0], "small", 1, 0)
    assert isinstance(answer, Refused)
    assert datetime.fromtimestamp(answer.binding.resets, UTC).hour == 15
    world.check()


def test_a_sliding_minute_frees_its_room_as_it_passes(world: World) -> None:
    world.now = world.now // 60_000 * 60_000
    world.set_limit((scopes.ORGANIZATION, "tokens", "minute", ""), 100)
    assert code(world, size=60) == "allow"
    assert code(world, size=41) == "limit_exceeded"
    assert code(world, size=40) == "allow"
    assert code(world, size=101) == "limit_exceeded"
    world.settle(world.held[1], 10, 0)  # thirty of it were not used
    assert code(world, size=31) == "limit_exceeded"
    assert code(world, size=30) == "allow"
    world.now += 60_000
    assert code(world, size=1) == "limit_exceeded"
    world.now += 30_000  # half of the hundred weigh still
    assert code(world, size=51) == "limit_exceeded"
    answer = world.authorize(world.credentials[0], "small", 75, 0)
    assert isinstance(answer, Refused)
    assert world.now / 1000 < answer.binding.resets <= world.now / 1000 + 60
    world.now = answer.binding.resets * 1000
    assert code(world, size=75) == "allow"


def test_a_released_call_frees_its_minute_and_an_unsent_one_its_day(world: World) -> None:
    world.set_limit((scopes.ORGANIZATION, "requests", "minute", ""), 1)
    world.set_limit((scopes.ORGANIZATION, "requests", "day", ""), 1)
    for _ in range(3):
        answer = world.authorize(world.credentials[0], "small", 1, 0)
        assert isinstance(answer, Allowed)
        held = reservation.decode(answer.reservation_id)
        assert held is not None
        decide.release(held)
        decide.release(held)
        world.held[-1].state = "released"
    world.check()


def test_a_renewed_call_reported_after_its_first_term_is_not_late(world: World) -> None:
    answer = world.authorize(world.credentials[0], "small", 1, 0)
    assert isinstance(answer, Allowed)
    world.now += 800_000
    held = reservation.decode(answer.reservation_id)
    assert held is not None
    assert decide.extend(held, now_ms=world.now) == world.now + 900_000
    world.now += 800_000
    assert jobs.expire_reservations(now_ms=world.now) == 0
    stored: list[inbox.Stored] = []
    real = inbox.add_settlements

    def keep(entries: Any) -> list[inbox.Stored]:
        stored.extend(real(entries))
        return stored

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox, "add_settlements", keep)
        assert world.settle(world.held[0], 1, 0).accepted == 1
    assert [row.entry.is_late for row in stored] == [False]


def test_usage_after_an_estimate_finds_its_owner_without_valkey_remembering(world: World) -> None:
    assert code(world, size=50) == "allow"
    world.now += 901_000
    assert jobs.expire_reservations(now_ms=world.now) == 1
    world.held[0].is_booked, world.held[0].state = "estimate", "settled"
    world.rows.append(Booked(world.held[0], world.held[0].spend, 1, world.held[0].tokens))
    valkey.command("FLUSHALL")
    assert world.settle(world.held[0], 7, 0, reservation_id=None).accepted == 1
    world.set_limit((scopes.user(world.people[0]), "tokens", "day", ""), 10**6)
    world.check()


def test_usage_older_than_thirty_five_days_and_from_the_future_is_refused_by_itself(world: World) -> None:
    now = datetime.fromtimestamp(world.now / 1000, UTC)
    owner: dict[str, Any] = {"credential_id": world.credentials[0].key_id}
    events = [
        usage.Event(0, "old", "small", now - timedelta(days=36), 1, 1, "ok", **owner),
        usage.Event(1, "restated", "small", now - timedelta(days=34), 1, 1, "ok", **owner),
        usage.Event(2, "future", "small", now + timedelta(minutes=6), 1, 1, "ok", **owner),
        usage.Event(3, "twice", "nobody-knows", now, 1, 1, "ok", **owner),
        usage.Event(4, "nobody", "small", now, 1, 1, "ok"),
        usage.Event(5, "huge", "lavish", now, 10**9, 10**9, "ok", **owner),
        usage.Event(6, "twice", "small", now, 1, 1, "ok", **owner),
    ]
    report = usage.record(world.gateway, events, world.now)
    assert report.accepted == 2
    assert [(item.index, item.code) for item in report.rejected] == [
        (0, "too_old"),
        (2, "in_future"),
        (3, "model_unpriced"),
        (4, "unattributed"),
        (5, "invalid"),
    ]
    assert report.duplicates == 0


def test_a_clock_that_steps_back_over_midnight_leaves_nothing_held(world: World) -> None:
    world.set_limit((scopes.ORGANIZATION, "requests", "day", ""), 5)
    tomorrow = world.now + 86_400_000
    today, world.now = world.now, tomorrow
    assert code(world) == "allow"
    world.now = today
    assert code(world) == "allow"
    for held in world.held:
        decoded = reservation.decode(held.reservation_id)
        assert decoded is not None
        decide.release(decoded)
        held.state = "released"
    world.now = tomorrow
    world.check()


def test_a_limit_on_each_user_that_comes_back_after_a_rebuild_knows_who_is_in_flight(world: World) -> None:
    key = (scopes.EACH_USER, "requests", "day", "")
    world.set_limit(key, 2)
    assert code(world) == "allow"
    world.set_limit(key, None)
    rebuild.rebuild("a test")
    world.set_limit(key, 2)
    world.check()
    assert code(world) == "allow"
    assert code(world) == "limit_exceeded"


def test_an_estimate_is_what_is_typical_and_never_more_than_was_reserved(world: World) -> None:
    for number in range(20):
        assert code(world, size=1000) == "allow"
        world.settle(world.held[-1], 10 + number, 3)
    jobs.move_usage()
    for size in (1000, 5):
        assert code(world, size=size) == "allow"
    world.now += 901_000
    assert jobs.expire_reservations(now_ms=world.now) == 2
    booked = [row.entry for row in inbox.waiting(10)]
    assert [(entry.input_tokens, entry.output_tokens) for entry in booked] == [(28, 3), (5, 0)]
    assert [(entry.spend, entry.reserved) for entry in booked] == [(34_000, 1_000_000), (5_000, 5_000)]

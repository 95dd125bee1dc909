"""Whatever happens at once: limits hold to the nano-unit, and everything is counted once."""

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from threading import Event
from typing import Any

import pytest
from django.db import transaction

from portal.decision import check, decide, jobs, rebuild, state, usage, valkey
from portal.decision.decide import Allowed, Call, Refused
from portal.decision.models import Rebuild
from portal.spend import inbox, scopes
from portal.spend.models import LedgerRow, Rollup
from tests.decision.threads import at_once
from tests.decision.world import World, cost


@pytest.fixture
def world(clean_state: None) -> Iterator[World]:
    made = World()
    yield made
    made.close()


def agree() -> None:
    assert check.reconcile() == {"counters": [], "reserved": [], "roll_ups": []}


def test_sixteen_threads_never_exceed_any_of_five_limits(world: World) -> None:
    one = world.projects[0].pk
    limits = {
        (scopes.ORGANIZATION, "spend", "month", ""): 900_000_007,
        (scopes.group(world.groups[0].pk), "spend", "week", ""): 500_000_003,
        (scopes.project(one), "spend", "day", "l*"): 300_000_001,
        (scopes.project_each_user(one), "spend", "day", ""): 250_000_009,
        (scopes.project(one), "requests", "day", ""): 300,
    }
    for key, amount in limits.items():
        world.set_limit(key, amount)

    def client(number: int) -> list[tuple[int, str, int, Any]]:
        random, done = Random(number), []
        for call in range(40):
            model = random.choice(["small", "large"])
            tokens = (random.randrange(1, 3000), random.randrange(1, 900))
            answer = decide.authorize(
                world.gateway_secret,
                Call(
                    world.credentials[number % 4].secret,
                    model,
                    f"{number}-{call}",
                    *tokens[:1],
                    None,
                    tokens[1],
                ),
            )
            done.append((number % 4, model, cost(world.prices[model], *tokens), answer))
        return done

    done = [item for answers in at_once(client, range(16)) for item in answers]
    admitted = [item for item in done if isinstance(item[3], Allowed)]
    refused = [item for item in done if isinstance(item[3], Refused)]
    assert admitted
    assert refused
    used = {
        "o": sum(item[2] for item in admitted),
        "group": sum(item[2] for item in admitted if item[0] != 2),
        "large": sum(item[2] for item in admitted if item[0] != 2 and item[1] == "large"),
        "ann": sum(item[2] for item in admitted if item[0] == 0),
        "ben": sum(item[2] for item in admitted if item[0] == 1),
        "requests": sum(1 for item in admitted if item[0] != 2),
    }
    room = [900_000_007, 500_000_003, 300_000_001, 250_000_009, 250_000_009, 300]
    assert all(value <= most for value, most in zip(used.values(), room, strict=True)), used
    counted = world.counted(
        [f"k:{scope}|{metric}|{window}|{model}" for scope, metric, window, model in limits][:3]
    )
    assert [reserved for _, reserved in counted.values()] == [used["o"], used["group"], used["large"]]
    agree()


def test_the_same_request_sent_sixteen_times_at_once_is_reserved_once(world: World) -> None:
    world.set_limit((scopes.ORGANIZATION, "requests", "day", ""), 5)
    call = Call(world.credentials[0].secret, "small", "again", input_tokens=10, max_output_tokens=10)
    answers = at_once(lambda _: decide.authorize(world.gateway_secret, call), range(16))
    assert len({answer.reservation_id for answer in answers if isinstance(answer, Allowed)}) == 1
    assert all(isinstance(answer, Allowed) for answer in answers)
    assert world.counted(["k:o|requests|day|"]) == {"k:o|requests|day|": (0, 1)}


def test_usage_delivered_by_eight_gateways_at_once_is_booked_once_and_nobody_deadlocks(world: World) -> None:
    world.set_limit((scopes.ORGANIZATION, "spend", "day", ""), 10**15)
    held = []
    for number in range(120):
        assert isinstance(world.authorize(world.credentials[number % 4], "large", 10 + number, 5), Allowed)
        held.append(world.held[-1])

    def deliver(number: int) -> list[usage.Report]:
        random = Random(number)
        order = random.sample(held, len(held))
        return [
            usage.record(
                world.gateway,
                [
                    world.event(item, item.input_tokens, 5, at)
                    for at, item in enumerate(order[start : start + 40])
                ],
                world.now,
            )
            for start in range(0, 120, 40)
        ]

    reports = [report for answers in at_once(deliver, range(8)) for report in answers]
    assert sum(report.accepted for report in reports) == 120
    assert sum(report.duplicates for report in reports) == 7 * 120
    assert not any(report.rejected for report in reports)
    total = sum(cost(world.prices["large"], item.input_tokens, 5) for item in held)
    assert world.counted(["k:o|spend|day|"]) == {"k:o|spend|day|": (total, 0)}
    at_once(lambda _: jobs.move_usage(), range(4))
    jobs.move_usage()
    assert LedgerRow.objects.count() == 120
    assert sum(Rollup.objects.filter(scope_key="o").values_list("spend", flat=True)) == total
    agree()


def test_an_estimate_and_the_late_report_of_the_same_call_count_once(world: World) -> None:
    world.set_limit((scopes.ORGANIZATION, "spend", "day", ""), 10**15)
    for number in range(60):
        assert isinstance(world.authorize(world.credentials[number % 4], "large", 100, 100), Allowed)
    world.now += 901_000

    def race(number: int) -> int:
        if number < 3:
            return jobs.expire_reservations(now_ms=world.now, batch=7)
        mine = world.held[(number - 3) * 20 : (number - 2) * 20]
        events = [world.event(held, 10, 10, at) for at, held in enumerate(mine)]
        return usage.record(world.gateway, events, world.now).accepted

    answers = at_once(race, range(6))
    assert sum(answers[3:]) == 60
    jobs.move_usage()
    total = 60 * cost(world.prices["large"], 10, 10)
    assert sum(Rollup.objects.filter(scope_key="o").values_list("spend", flat=True)) == total
    assert sum(Rollup.objects.filter(scope_key="o").values_list("calls", flat=True)) == 60
    assert world.counted(["k:o|spend|day|"]) == {"k:o|spend|day|": (total, 0)}
    agree()


def test_limits_that_change_under_traffic_count_every_call(world: World) -> None:
    world.set_limit((scopes.ORGANIZATION, "spend", "day", ""), 10**15)
    is_over = Event()

    def traffic(number: int) -> None:
        if number == 0:
            for turn in range(12):
                for key in (
                    (scopes.project(world.projects[0].pk), "spend", "day", ""),
                    (scopes.EACH_USER, "tokens", "month", ""),
                    (scopes.user(world.people[0]), "tokens", "month", ""),
                ):
                    world.set_limit(key, None if turn % 2 else 10**15)
            for key in list(world.limits):
                world.set_limit(key, 10**14)
            is_over.set()
            return
        for call in range(500):
            if is_over.is_set():
                return
            answer = decide.authorize(
                world.gateway_secret,
                Call(world.credentials[number % 4].secret, "small", f"{number}-{call}", 5, None, 5),
            )
            assert isinstance(answer, Allowed)
            event = usage.Event(0, f"{number}-{call}", "small", datetime.now(UTC), 5, call % 5, "ok")
            assert usage.record(world.gateway, [event], world.now).accepted == 1

    at_once(traffic, range(6))
    world.set_limit((scopes.EACH_USER, "tokens", "month", ""), 10**15)
    agree()


def test_state_that_is_lost_again_and_again_under_usage_counts_every_call(world: World) -> None:
    world.set_limit((scopes.ORGANIZATION, "spend", "day", ""), 10**15)
    is_over = Event()

    def traffic(number: int) -> int:
        if number == 0:
            for turn in range(10):
                if turn % 2:
                    valkey.command("FLUSHALL")
                else:
                    rebuild.rebuild("a test")
                jobs.move_usage()
            is_over.set()
            return 0
        accepted = 0
        for call in range(400):
            if is_over.is_set() and call > 5:
                break
            event = usage.Event(
                0, f"{number}-{call}", "small", datetime.now(UTC), 7, 3, "ok",
                credential_id=world.credentials[number % 4].key_id,
            )  # fmt: skip
            accepted += usage.record(world.gateway, [event], world.now).accepted
        return accepted

    accepted = sum(at_once(traffic, range(5)))
    jobs.move_usage()
    total = accepted * cost(world.prices["small"], 7, 3)
    assert world.counted(["k:o|spend|day|"]) == {"k:o|spend|day|": (total, 0)}
    agree()


def test_usage_that_commits_after_the_snapshot_of_a_rebuild_is_counted_once(world: World) -> None:
    world.set_limit((scopes.ORGANIZATION, "spend", "day", ""), 10**15)
    assert isinstance(world.authorize(world.credentials[0], "small", 100, 0), Allowed)
    assert isinstance(world.authorize(world.credentials[0], "small", 10, 0), Allowed)
    first, second = world.held
    is_written, is_rebuilt = Event(), Event()
    real = inbox.add_settlements

    def slow(entries: Any) -> Any:
        with transaction.atomic():
            stored = real(entries)
            is_written.set()
            assert is_rebuilt.wait(30)
        return stored

    def act(number: int) -> None:
        if number == 0:
            # Written but not committed while the other thread rebuilds.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(inbox, "add_settlements", slow)
                assert usage.record(world.gateway, [world.event(first, 100, 0)], world.now).accepted == 1
        else:
            assert is_written.wait(30)
            # Committed, but not counted before the snapshot.
            entry = usage._entry(world.gateway, world.event(second, 10, 0), *attribution(world, second))
            assert not isinstance(entry, usage.Rejected)
            stored = real([entry])
            rebuild.rebuild("a test")
            assert world.counted(["k:o|spend|day|"]) == {"k:o|spend|day|": (10_000, 100_000)}
            usage.count(stored, jobs.configuration_in_step())
            assert world.counted(["k:o|spend|day|"]) == {"k:o|spend|day|": (10_000, 100_000)}
            is_rebuilt.set()

    at_once(act, range(2))
    assert world.counted(["k:o|spend|day|"]) == {"k:o|spend|day|": (110_000, 0)}
    agree()


def attribution(world: World, held: Any) -> tuple[Any, Any, int]:
    config = jobs.configuration_in_step()
    event = world.event(held, 0, 0)
    return usage._attribute(world.gateway, [event], config, world.now)[0], config, world.now


def test_usage_counted_between_the_snapshot_of_a_new_limit_and_its_publishing_is_in_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tokens in (1000, 100, 10):
        assert isinstance(world.authorize(world.credentials[0], "small", tokens, 0), Allowed)
    world.settle(world.held[0], 1000, 0)
    real = state.counter_rows

    def meanwhile(found: Any) -> Any:
        # The snapshot has been read; this is booked and counted before the limit is known.
        monkeypatch.setattr(state, "counter_rows", real)
        world.settle(world.held[1], 100, 0)
        return real(found)

    monkeypatch.setattr(state, "counter_rows", meanwhile)
    world.set_limit((scopes.EACH_USER, "spend", "day", ""), 10**9)
    key = f"k:{scopes.user(world.people[0])}|spend|day|"
    assert world.counted([key]) == {key: (1_100_000, 10_000)}
    assert valkey.command("EXISTS", "watch", "watched") == 0
    world.check()


def test_a_report_repeated_before_it_is_counted_never_frees_its_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set_limit((scopes.ORGANIZATION, "spend", "day", ""), 100_000)
    assert isinstance(world.authorize(world.credentials[0], "small", 100, 0), Allowed)
    held = world.held[0]

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(usage, "count", killed)
        with pytest.raises(KeyboardInterrupt):
            usage.record(world.gateway, [world.event(held, 100, 0)], world.now)
    assert world.counted(["k:o|spend|day|"]) == {"k:o|spend|day|": (0, 100_000)}
    assert usage.record(world.gateway, [world.event(held, 100, 0)], world.now).duplicates == 1
    assert world.counted(["k:o|spend|day|"]) == {"k:o|spend|day|": (100_000, 0)}
    answer = world.authorize(world.credentials[1], "small", 1, 0)
    assert isinstance(answer, Refused)


def test_a_rebuild_that_was_overtaken_neither_loads_nor_opens(world: World) -> None:
    valkey.call("rebuild_begin", 41)
    valkey.call("rebuild_begin", 42)
    for call in (
        ("rebuild_load", 41, "[1,[]]"),
        ("rebuild_recount", 41, 0, 9, 0, 0, 0),
        ("rebuild_open", 41),
    ):
        assert valkey.call(*call) == [b"no"]
    valkey.command("FLUSHALL")
    assert valkey.call("rebuild_open", 42) == [b"no"]
    assert isinstance(world.authorize(world.credentials[0], "small", 1, 1), Allowed)


def test_two_who_find_the_state_missing_rebuild_it_once(world: World) -> None:
    valkey.command("FLUSHALL")
    before = Rebuild.objects.count()
    answers = at_once(
        lambda number: decide.authorize(
            world.gateway_secret, Call(world.credentials[0].secret, "small", f"r{number}", 1, None, 1)
        ),
        range(8),
    )
    assert all(isinstance(answer, Allowed) for answer in answers)
    assert Rebuild.objects.filter(finished__isnull=False).count() == before + 1


def test_sums_beyond_a_bigint_stay_exact(world: World) -> None:
    world.set_limit((scopes.ORGANIZATION, "spend", "month", ""), 9 * 10**18)
    total = 0
    for number in range(12):
        event = usage.Event(
            0, f"huge-{number}", "lavish", datetime.now(UTC), 200_000_000 + number, 1, "ok",
            credential_id=world.credentials[0].key_id,
        )  # fmt: skip
        assert usage.record(world.gateway, [event], world.now).accepted == 1
        total += cost(world.prices["lavish"], 200_000_000 + number, 1)
    assert total > 2**63
    assert world.counted(["k:o|spend|month|"]) == {"k:o|spend|month|": (total, 0)}
    agree()
    assert Rollup.objects.get(scope_key="o").spend == total
    valkey.command("FLUSHALL")
    assert world.counted(["k:o|spend|month|"]) == {"k:o|spend|month|": (total, 0)}
    refused = world.authorize(world.credentials[0], "small", 1, 0)
    assert isinstance(refused, Refused)
    assert refused.binding.settled == total

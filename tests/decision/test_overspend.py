"""Sixty-four clients in each of four processes, eight levels, random amounts: no limit is exceeded by a nano-unit."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from portal import env
from portal.decision.decide import Allowed, Refused
from portal.spend import scopes
from tests.decision.world import World, cost

PROCESSES, CLIENTS, CALLS = 4, 64, 12


@pytest.fixture
def world(clean_state: None) -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.mark.slow
def test_four_processes_never_exceed_any_of_eight_levels(world: World) -> None:
    one, ann = world.projects[0].pk, world.people[0]
    token = world.credentials[0].key_id
    # Level, model filter, amount, and which of the credentials count there: Ann by a group, Ben, Ann elsewhere, a key.
    levels = [
        (scopes.ORGANIZATION, "", 3_500_000_007, (0, 1, 2, 3)),
        (scopes.group(world.groups[0].pk), "", 2_199_999_995, (0, 1, 3)),
        (scopes.project(one), "", 2_200_000_001, (0, 1, 3)),
        (scopes.project(one), "l*", 1_700_000_001, (0, 1, 3)),
        (scopes.project_group(one, world.groups[1].pk), "", 600_000_001, (0,)),
        (scopes.project_each_user(one), "", 900_000_007, (1,)),
        (scopes.user(ann), "", 2_000_000_011, (0, 2)),
        (scopes.credential(token), "", 600_000_003, (0,)),
    ]
    for scope, model, amount, _ in levels:
        world.set_limit((scope, "spend", "month", model), amount)

    done = _ask_at_once(world)

    granted = [item for item in done if item[0] == "granted"]
    failed = {name for item in done for name in item[5]}
    for scope, model, amount, who in levels:
        used = sum(
            cost(world.prices[item[2]], item[3], item[4])
            for item in granted
            if item[1] in who and (not model or item[2] == "large")
        )
        assert used <= amount, (scope, model)
        if scope != scopes.project_each_user(one):
            key = f"k:{scope}|spend|month|{model}"
            assert world.counted([key]) == {key: (0, used)}
    assert len(failed) >= 6, f"only these were ever full: {failed}"
    assert len(done) > PROCESSES * CLIENTS * CALLS * 0.8


def _ask_at_once(world: World) -> list[list[Any]]:
    plan = {
        "seed": 7,
        "gateway": world.gateway_secret,
        "secrets": [credential.secret for credential in world.credentials],
        "clients": CLIENTS,
        "calls": CALLS,
    }
    environment = {**os.environ, "DATABASE_URL": os.environ["TEST_DATABASE_APP_URL"]}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.decision.overspend_clients"],
            cwd=env.REPO,
            env={**environment, "DJANGO_SETTINGS_MODULE": "portal.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    try:
        for number, process in enumerate(processes):
            assert process.stdin
            process.stdin.write(json.dumps({**plan, "first": number * CLIENTS}) + "\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.close()
        done: list[list[Any]] = []
        for process in processes:
            assert process.stdout
            done += json.load(process.stdout)
            assert process.wait(30) == 0
        return done
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()


def test_a_limit_of_nothing_on_a_model_switches_it_off_everywhere(world: World) -> None:
    switch = (scopes.ORGANIZATION, "requests", "month", "large")
    world.set_limit(switch, 0)
    for credential in world.credentials:
        assert isinstance(world.authorize(credential, "large", 1, 1), Refused)
        assert isinstance(world.authorize(credential, "small", 1, 1), Allowed)
    world.set_limit(switch, None)
    assert isinstance(world.authorize(world.credentials[0], "large", 1, 1), Allowed)

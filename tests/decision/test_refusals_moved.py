"""Refusals reach Postgres once, also when the job dies after its commit."""

from unittest import mock

import pytest
from django.db.models import Sum

from portal.decision import jobs, valkey
from portal.spend.models import Refusal, UnpricedModel
from tests.decision.world import World


@pytest.fixture
def world(clean_state: None) -> World:
    return World()


class Died(Exception):
    pass


def dies_before_deletion(*words: object) -> object:
    if words[0] == "XDEL":
        raise Died
    return COMMAND(*words)


COMMAND = valkey.command


def test_a_job_that_dies_between_commit_and_deletion_counts_nothing_twice(world: World) -> None:
    for _ in range(70):
        world.authorize(world.credentials[0], "free", 1, 1)
    with mock.patch.object(valkey, "command", dies_before_deletion), pytest.raises(Died):
        jobs.move_refusals()
    for _ in range(3):
        world.authorize(world.credentials[0], "free", 1, 1)
    jobs.move_refusals()
    world.close()

    assert Refusal.objects.count() < 50
    assert Refusal.objects.aggregate(calls=Sum("count"))["calls"] == 73
    assert UnpricedModel.objects.get().calls == 73

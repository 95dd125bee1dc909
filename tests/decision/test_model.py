"""Three ways to decide – a plain model, Valkey, Postgres – are asked the same and must answer the same."""

import os
import sys
import time
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from portal.decision import rebuild, services
from portal.lib import windows
from portal.organization.selectors import current as current_organization
from tests.decision.mirror import Mirror, edge
from tests.decision.test_invariants import Machine
from tests.decision.world import ACTOR, World

EXAMPLES = int(os.environ.get("PORTAL_EXAMPLES", "8"))
SEED = int(os.environ.get("PORTAL_SEED", "20261124"))


class ThreeWays(Machine):
    """The machine of the invariants with a second decider, and with time that goes from edge to edge."""

    def new_world(self) -> World:
        zone, change = edge()
        world = Mirror(now=int((change - timedelta(hours=3)).timestamp() * 1000))
        services.update_organization(time_zone=zone, actor=ACTOR)
        return world

    @initialize()
    def found(self) -> None:
        self.world = self.new_world()

    @rule(
        window=st.sampled_from(["day", "day", "week", "month"]),
        seconds=st.sampled_from([-1, 0, 1]),
    )
    def step_to_the_end_of(self, window: str, seconds: int) -> None:
        end = windows.window_at(window, self.world.now / 1000, current_organization().zone).end
        if end < time.time() + 60 * 86_400:  # the ledger has months for no more
            self.world.now = max(self.world.now, (end + seconds) * 1000)

    @rule(how=st.just("restart"))
    def lose_valkey(self, how: str) -> None:
        rebuild.rebuild("a test")


@pytest.mark.slow
def test_model_valkey_and_postgres_agree_on_every_answer_and_every_calendar_counter(
    clean_state: None,
) -> None:
    sys.stdout.write(f"PORTAL_SEED={SEED} PORTAL_EXAMPLES={EXAMPLES}\n")
    run = settings(
        max_examples=EXAMPLES,
        stateful_step_count=40,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a failure is printed step by step; shrinking would take minutes
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(seed(SEED)(ThreeWays), settings=run)

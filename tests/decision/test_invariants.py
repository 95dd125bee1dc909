"""The invariants of limits, whatever happens in which order: the real decision against a plain model, step by step."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from portal.decision import jobs, rebuild, services, usage, valkey
from portal.decision.decide import Allowed, Refused
from portal.spend import scopes
from projects.services import update_project
from tests.decision.world import ACTOR, PRICES, Booked, Credential, Held, World, cost

EXAMPLES = int(os.environ.get("PORTAL_EXAMPLES", "15"))
TOKENS = st.integers(0, 400) | st.sampled_from([0, 1, 100, 9_999_999])
MODELS = st.sampled_from([*PRICES, "small", "large"])
WHO = st.integers(0, 3)


class Machine(RuleBasedStateMachine):
    """Drives the decision; `World` holds the model."""

    calls: Bundle[Held] = Bundle("calls")

    def new_world(self) -> World:
        return World()

    @initialize()
    def found(self) -> None:
        self.world = self.new_world()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    def who(self, number: int) -> Credential:
        return self.world.credentials[number]

    def is_too_old(self, held: Held) -> bool:
        return held.moment < self.world.now - 35 * 86_400_000

    # Calls

    @rule(target=calls, number=WHO, model=MODELS, tokens=st.tuples(TOKENS, TOKENS))
    def authorize(self, number: int, model: str, tokens: tuple[int, int]) -> Any:
        world, credential = self.world, self.who(number)
        expected = world.expected()
        failed = set()
        asked = cost(world.prices[model], *tokens)
        for key, limit in world.counters_of(credential, world.owner[credential.project], model).items():
            amount, mode = world.limits[limit]
            settled, reserved = expected.get(key, (0, 0))
            want = {"spend": asked, "tokens": sum(tokens), "requests": 1, "concurrency": 1}[limit[1]]
            if mode == "enforce" and settled + reserved + want > amount:
                failed.add(key)
        answer = world.authorize(credential, model, *tokens)
        if isinstance(answer, Allowed):
            assert not failed
            assert answer.spend == asked
            return world.held[-1]
        assert answer.code == "limit_exceeded"
        assert {f"k:{r.scope}|{r.metric}|{r.window}|{r.model}" for r in answer.rows if r.failed} == failed
        # A refused call stays in the bundle as one that never was.
        return Held(
            "", credential, None, model, world.prices[model], *tokens, world.now, 0, 0, "", state="refused"
        )

    @rule(held=calls)
    def ask_again(self, held: Held) -> None:
        if held.state == "refused":
            return
        tokens = (held.input_tokens, held.output_tokens)
        before = len(self.world.held)
        if held.state == "lost":
            return
        answer = self.world.authorize(held.credential, held.model, *tokens, request_id=held.request_id)
        assert len(self.world.held) == before
        if held.state == "open" and held.expires > self.world.now:
            assert isinstance(answer, Allowed)
            assert (answer.reservation_id, answer.expires) == (held.reservation_id, held.expires)
        else:
            assert isinstance(answer, Refused)
            assert answer.code == "request_id_reused"
        other = self.world.authorize(
            held.credential, held.model, tokens[0] + 1, tokens[1], request_id=held.request_id
        )
        assert isinstance(other, Refused)
        assert other.code == "request_id_reused"

    @rule(
        held=calls,
        used=st.tuples(TOKENS, TOKENS),
        is_exact=st.booleans(),
        by=st.sampled_from(["id", "request"]),
    )
    def settle(self, held: Held, used: tuple[int, int], is_exact: bool, by: str) -> None:
        if held.state == "refused":
            return
        if held.state == "lost" and held.is_booked == "":
            by = "id"  # without its record only the reservation tells whose it was
        tokens = (held.input_tokens, held.output_tokens) if is_exact else used
        other: dict[str, Any] = {} if by == "id" else {"reservation_id": None}
        was = held.is_booked
        report = self.world.settle(held, *tokens, **other)
        if was != "settle" and self.is_too_old(held):
            assert [rejected.code for rejected in report.rejected] == ["too_old"]
            return
        assert (report.accepted, report.duplicates) == ((0, 1) if was == "settle" else (1, 0)), report

    @rule(held=calls, number=st.integers(2, 4))
    def settle_many_times_in_one_batch(self, held: Held, number: int) -> None:
        if held.state == "refused" or held.is_booked or self.is_too_old(held):
            return
        events = [self.world.event(held, 3, 4, index) for index in range(number)]
        report = usage.record(self.world.gateway, events, self.world.now)
        assert (report.accepted, report.duplicates) == (1, number - 1)
        self.world.book(held, 3, 4)

    @rule(held=calls, used=st.none() | st.tuples(TOKENS, TOKENS))
    def correct(self, held: Held, used: tuple[int, int] | None) -> None:
        if held.state != "refused" and held.is_booked:
            self.world.correct(held, used)

    @rule(number=WHO, model=MODELS, used=st.tuples(TOKENS, TOKENS), hours=st.integers(0, 60))
    def use_without_reservation(self, number: int, model: str, used: tuple[int, int], hours: int) -> None:
        world, credential = self.world, self.who(number)
        moment = world.now // 1000 * 1000 - hours * 3_600_000
        held = Held(
            f"unasked-{next(world.numbers)}", credential, world.owner[credential.project], model,
            world.price_at(model, moment), 0, 0, moment, 0, 0, "", state="unasked",
        )  # fmt: skip
        report = usage.record(
            world.gateway, [world.event(held, *used, credential_id=credential.key_id)], world.now
        )
        assert report.accepted == 1
        world.book(held, *used)

    @rule(held=consumes(calls))
    def release(self, held: Held) -> None:
        if held.state == "refused":
            return
        self.world.release(held)
        if held.state == "open":
            held.state = "released"

    @rule(held=calls)
    def extend(self, held: Held) -> None:
        if held.state == "refused":
            return
        expires = self.world.extend(held)
        if held.state == "open" and held.expires > self.world.now:
            assert expires == self.world.now + 900_000
            held.expires = expires
        else:
            assert expires is None

    # Time

    @rule(seconds=st.sampled_from([1, 60, 600, 901, 4000, 6 * 3600, 20 * 3600, 4 * 86400]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += seconds * 1000

    @rule()
    def expire(self) -> None:
        due = [held for held in self.world.held if held.state == "open" and held.expires <= self.world.now]
        assert jobs.expire_reservations(now_ms=self.world.now) == len(due)
        for held in due:
            held.state, held.is_booked = "settled", "estimate"
            self.world.rows.append(Booked(held, held.spend, 1, held.tokens))

    # Changes

    @rule(
        data=st.data(),
        metric=st.sampled_from(["spend", "spend", "requests", "tokens", "concurrency"]),
        window=st.sampled_from(["day", "week", "month"]),
        pattern=st.sampled_from(["", "", "small", "l*"]),
        mode=st.sampled_from(["enforce", "enforce", "enforce", "observe"]),
        amount=st.none() | st.integers(0, 12),
    )
    def set_limit(
        self, data: st.DataObject, metric: str, window: str, pattern: str, mode: str, amount: int | None
    ) -> None:
        world = self.world
        one, two = (project.pk for project in world.projects)
        scope = data.draw(
            st.sampled_from(
                [
                    scopes.ORGANIZATION,
                    scopes.EACH_USER,
                    *map(scopes.user, world.people),
                    *(scopes.group(group.pk) for group in world.groups),
                    scopes.project(one),
                    scopes.project(two),
                    scopes.project_group(one, world.groups[1].pk),
                    scopes.project_each_user(one),
                    scopes.project_user(one, world.people[0]),
                    *(scopes.credential(credential.key_id) for credential in world.credentials),
                ]
            )
        )
        unit = {"spend": 1_234_567, "tokens": 200, "requests": 1, "concurrency": 1}[metric]
        key = (scope, metric, "none" if metric == "concurrency" else window, pattern)
        world.set_limit(key, None if amount is None else amount * unit, mode)

    @rule(project=st.integers(0, 1), group=st.sampled_from([None, 0, 1]))
    def move_project(self, project: int, group: int | None) -> None:
        world = self.world
        owner: Any = None if group is None else world.groups[group]
        world.projects[project] = update_project(project=world.projects[project], group=owner, actor=ACTOR)
        world.owner[world.projects[project].pk] = owner and owner.pk

    @rule(model=MODELS, nano=st.integers(0, 5 * 10**9))
    def change_price(self, model: str, nano: int) -> None:
        self.world.now += 1000  # a price never begins before usage that is booked
        self.world.set_price(model, f"{nano}e-9", f"{3 * nano}e-9")

    @rule(zone=st.sampled_from(["UTC", "Asia/Tokyo", "America/St_Johns", "Pacific/Apia", "Europe/Berlin"]))
    def change_zone(self, zone: str) -> None:
        services.update_organization(time_zone=zone, actor=ACTOR)

    # Machinery

    @rule()
    def move_usage(self) -> None:
        jobs.move_usage()

    @rule(how=st.sampled_from(["flush", "flush", "restart"]))
    def lose_valkey(self, how: str) -> None:
        if how == "restart":
            rebuild.rebuild("a test")  # data stay, the functions know no epoch: open reservations are kept
            return
        valkey.command("FLUSHALL")
        for held in self.world.held:
            if held.state in ("open", "settled", "released"):
                held.state = "lost"

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def agrees(self) -> None:
        self.world.check()


@pytest.mark.slow
def test_reserved_settled_and_grants_agree_with_the_model_after_every_step(clean_state: None) -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            derandomize="PORTAL_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )

"""A small organization on real servers, with a clock that tests step, and what the decision should say about it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import count
from typing import Any
from unittest import mock

from django.db import connection

from apikeys.services import issue_api_key
from audit.actors import Actor
from groups.services import create_group, set_members
from portal.accounts.models import Person
from portal.decision import check, corrections, decide, rebuild, reservation, services, state, usage
from portal.decision.decide import Allowed, Call, Refused
from portal.gateway.services import register_gateway
from portal.lib import windows
from portal.organization.selectors import current as current_organization
from portal.spend import scopes
from projects.services import add_member, admit_group, create_project
from tests import state as everything
from tokens.services import issue_token

ACTOR = Actor.system()
Key = tuple[str, str, str, str]  # scope, metric, window, model filter
PRICES = {"small": ("1", "2"), "large": ("3.7", "11.300000001"), "lavish": ("5000000", "5000000.5")}


@dataclass
class Credential:
    """Who calls, and in which scopes that counts."""

    key_id: str
    secret: str
    project: int
    person: int | None
    draws_on: int | None


@dataclass
class Held:
    """An authorization as the model remembers it."""

    request_id: str
    credential: Credential
    group: int | None
    model: str
    price: tuple[Fraction, Fraction]
    input_tokens: int
    output_tokens: int
    moment: int
    expires: int
    spend: int
    reservation_id: str
    state: str = "open"
    is_booked: str = ""  # "estimate" or "settle"

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass
class Booked:
    """A row of the ledger or the inbox."""

    held: Held
    spend: int
    calls: int
    tokens: int

    @property
    def moment(self) -> int:
        return self.held.moment


@dataclass
class World:
    """Real services and, beside them, a plain model of limits, reservations and rows."""

    now: int = 0  # milliseconds
    limits: dict[Key, tuple[int, str]] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    rows: list[Booked] = field(default_factory=list)
    history: list[tuple[str, int, tuple[Fraction, Fraction]]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        everything.reset()
        if not self.now:
            # Ahead of the servers' clock, and in the same day: some of what is tested counts by that clock.
            clock = int(datetime.now(UTC).timestamp() * 1000)
            self.now = clock + (3_600_000 if clock % 86_400_000 < 82_800_000 else 1000)
        self.clock = mock.patch.multiple(state, server_time=lambda: self.now / 1000)
        self.clock.start()
        self.service_clock = mock.patch.object(services, "time", mock.Mock(time=lambda: self.now / 1000))
        self.service_clock.start()
        self.prices: dict[str, tuple[Fraction, Fraction]] = {}
        for model in PRICES:
            self.set_price(
                model, *PRICES[model], effective=datetime.fromtimestamp(self.now / 1000 - 90 * 86400, UTC)
            )
        self.groups = [create_group(code=code, name=code.upper(), actor=ACTOR) for code in ("a", "b")]
        self.projects = [
            create_project(code="one", name="One", group=self.groups[0], actor=ACTOR),
            create_project(code="two", name="Two", actor=ACTOR),
        ]
        self.owner = {self.projects[0].pk: self.groups[0].pk, self.projects[1].pk: None}
        people = [Person.objects.create(name=name, email=f"{name}@example.org") for name in ("ann", "ben")]
        self.people = [person.pk for person in people]
        admit_group(project=self.projects[0], group=self.groups[1], actor=ACTOR)
        set_members(group=self.groups[1], people=[people[0]], actor=ACTOR)
        self.credentials = []
        for project, person, draws in ((0, 0, self.groups[1].pk), (0, 1, None), (1, 0, None)):
            if draws is None:
                add_member(project=self.projects[project], person=people[person], actor=ACTOR)
            token, secret = issue_token(project=self.projects[project], person=people[person], actor=ACTOR)
            pk = self.projects[project].pk
            self.credentials.append(Credential(token.key_id, secret, pk, self.people[person], draws))
        key, secret = issue_api_key(project=self.projects[0], name="key", actor=ACTOR)
        self.credentials.append(Credential(key.key_id, secret, self.projects[0].pk, None, None))
        gateway, self.gateway_secret = register_gateway(name="gateway", actor=ACTOR)
        self.gateway = gateway.key_id
        rebuild.ensure_ready()

    def close(self) -> None:
        self.clock.stop()
        self.service_clock.stop()

    # What is done

    def set_price(self, model: str, price_in: str, price_out: str, effective: datetime | None = None) -> None:
        services.set_price(
            model=model,
            input=Decimal(price_in),
            output=Decimal(price_out),
            effective=effective or datetime.fromtimestamp(self.now / 1000, UTC),
            actor=ACTOR,
        )
        self.prices[model] = (Fraction(price_in), Fraction(price_out))
        self.history.append(
            (model, int((effective.timestamp() * 1000) if effective else self.now), self.prices[model])
        )

    def price_at(self, model: str, moment: int) -> tuple[Fraction, Fraction]:
        """Return the price in force at the moment."""
        return [price for name, since, price in self.history if name == model and since <= moment][-1]

    def set_limit(self, key: Key, amount: int | None, mode: str = "enforce") -> None:
        scope, metric, window, model = key
        shown = Decimal(amount).scaleb(-9) if amount is not None and metric == "spend" else amount
        services.set_limit(
            scope_key=scope,
            label=scope,
            metric=metric,
            window=window,
            model=model,
            amount=shown,
            mode=mode,
            actor=ACTOR,
        )
        if amount is None:
            self.limits.pop(key, None)
        else:
            self.limits[key] = (amount, mode)

    def authorize(
        self, credential: Credential, model: str, input_tokens: int, output_tokens: int, request_id: str = ""
    ) -> Allowed | Refused:
        request_id = request_id or f"request-{next(self.numbers)}"
        call = Call(
            credential.secret, model, request_id, input_tokens=input_tokens, max_output_tokens=output_tokens
        )
        answer = self.decide(call)
        if isinstance(answer, Allowed) and all(held.request_id != request_id for held in self.held):
            price = self.prices[model]
            self.held.append(
                Held(
                    request_id, credential, self.owner[credential.project], model, price, input_tokens, output_tokens,
                    self.now, answer.expires, cost(price, input_tokens, output_tokens), answer.reservation_id,
                )
            )  # fmt: skip
        return answer

    def decide(self, call: Call) -> Allowed | Refused:
        return decide.authorize(self.gateway_secret, call, now_ms=self.now)

    def release(self, held: Held) -> None:
        decoded = reservation.decode(held.reservation_id)
        assert decoded is not None
        decide.release(decoded)

    def extend(self, held: Held) -> int | None:
        decoded = reservation.decode(held.reservation_id)
        assert decoded is not None
        return decide.extend(decoded, now_ms=self.now)

    def event(
        self, held: Held, input_tokens: int, output_tokens: int, index: int = 0, **other: Any
    ) -> usage.Event:
        named = {"reservation_id": held.reservation_id} if held.reservation_id else {}
        return usage.Event(
            index,
            held.request_id,
            held.model,
            datetime.fromtimestamp(held.moment / 1000, UTC),
            input_tokens,
            output_tokens,
            "ok",
            **{**named, **other},
        )

    def settle(self, held: Held, input_tokens: int, output_tokens: int, **other: Any) -> usage.Report:
        report = usage.record(
            self.gateway, [self.event(held, input_tokens, output_tokens, **other)], self.now
        )
        if report.accepted:
            if held.is_booked == "estimate":
                spend, calls, tokens = self.comes_to(held)
                self.rows.append(Booked(held, -spend, -calls, -tokens))
            self.book(held, input_tokens, output_tokens)
        return report

    def book(self, held: Held, input_tokens: int, output_tokens: int, kind: str = "settle") -> None:
        held.is_booked = kind
        if held.state == "open":
            held.state = "settled"
        spend = cost(held.price, input_tokens, output_tokens)
        self.rows.append(Booked(held, spend, 1, input_tokens + output_tokens))

    def correct(self, held: Held, used: tuple[int, int] | None) -> None:
        """Make a call that is settled or estimated come to what was used, or to nothing."""
        entry_id, moment = booked_row(held.request_id, held.is_booked)
        named: dict[str, Any] = {"entry_id": entry_id, "moment": moment, "reason": "a test", "actor": ACTOR}
        now = self.comes_to(held)
        if used is None:
            corrections.void_usage(**named)
            then = [0, 0, 0]
        else:
            corrections.correct_usage(used=corrections.Used(*used), **named)
            then = [cost(held.price, *used), 1, sum(used)]
        self.rows.append(Booked(held, *(after - before for after, before in zip(then, now, strict=True))))

    def comes_to(self, held: Held) -> list[int]:
        """Return spend, calls and tokens of one call, all its rows together."""
        of_call = [(row.spend, row.calls, row.tokens) for row in self.rows if row.held is held]
        return [sum(values) for values in zip(*of_call, strict=True)]

    # What should be

    def window_start(self, window: str, moment: int) -> int:
        if window == "none":
            return 0
        return windows.window_at(window, moment / 1000, current_organization().zone).start

    def counters_of(self, credential: Credential, group: int | None, model: str) -> dict[str, Key]:
        """Return counter key -> limit for a call; a limit on a named user replaces the one on each."""
        names = [("o", "o")]
        if group:
            names.append((scopes.group(group),) * 2)
        names.append((scopes.project(credential.project),) * 2)
        if credential.draws_on:
            names.append((scopes.project_group(credential.project, credential.draws_on),) * 2)
        project, person = credential.project, credential.person
        if person:
            in_project, anywhere = scopes.project_user(project, person), scopes.user(person)
            names += [(in_project, in_project), (scopes.project_each_user(project), in_project)]
            names += [(anywhere, anywhere), (scopes.EACH_USER, anywhere)]
        names.append((scopes.credential(credential.key_id),) * 2)
        found: dict[str, Key] = {}
        for set_on, counter in names:
            for limit in self.limits:
                scope, metric, window, pattern = limit
                applies = (
                    not pattern or pattern == model or (pattern[-1] == "*" and model.startswith(pattern[:-1]))
                )
                if scope == set_on and applies:
                    found.setdefault(f"k:{counter}|{metric}|{window}|{pattern}", limit)
        return found

    def expected(self) -> dict[str, tuple[int, int]]:
        """Return settled and reserved of every counter in its current window."""
        found: dict[str, list[int]] = {}
        for scope, metric, window, pattern in self.limits:
            if not scope.endswith(":*"):
                found[f"k:{scope}|{metric}|{window}|{pattern}"] = [0, 0]
        for row in self.rows:
            for key, (_, metric, window, _) in self.counters_of(
                row.held.credential, row.held.group, row.held.model
            ).items():
                value = {"spend": row.spend, "requests": row.calls, "tokens": row.tokens, "concurrency": 0}[
                    metric
                ]
                if self.window_start(window, row.moment) == self.window_start(window, self.now):
                    found.setdefault(key, [0, 0])[0] += value
        for held in self.held:
            if held.state != "open":
                continue
            for key, (_, metric, window, _) in self.counters_of(
                held.credential, held.group, held.model
            ).items():
                value = {"spend": held.spend, "requests": 1, "tokens": held.tokens, "concurrency": 1}[metric]
                if self.window_start(window, held.moment) == self.window_start(window, self.now):
                    found.setdefault(key, [0, 0])[1] += value
        return {key: (settled, reserved) for key, (settled, reserved) in found.items()}

    def counted(self, keys: list[str]) -> dict[str, tuple[int, int]]:
        """Return what Valkey has, in the same form."""
        found = {}
        for key, row in zip(keys, decide.ask("read", *keys)[1:], strict=True):
            window = key.split("|")[2]
            if row is None or (window != "none" and row[0] < self.window_start(window, self.now)):
                found[key] = (0, 0)
            elif window == "none":
                found[key] = (0, row[1])
            else:
                found[key] = (row[1] * 10**9 + row[2], row[3] * 10**9 + row[4])
        return found

    def check(self) -> None:
        """Compare Valkey, Postgres and the model; raise AssertionError on any difference."""
        expected = self.expected()
        assert self.counted(sorted(expected)) == dict(sorted(expected.items()))
        assert all(reserved >= 0 for _, reserved in expected.values())
        assert check.reconcile() == {"counters": [], "reserved": [], "roll_ups": []}


def booked_row(request_id: str, kind: str) -> tuple[Any, datetime]:
    """Return id and moment of the row a call was settled or estimated with."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, moment FROM ledger WHERE request_id = %(id)s AND kind = %(kind)s"
            " UNION ALL SELECT id, moment FROM usage_inbox WHERE request_id = %(id)s AND kind = %(kind)s",
            {"id": request_id, "kind": kind},
        )
        ((entry_id, moment),) = cursor.fetchall()
        return entry_id, moment


def cost(price: tuple[Fraction, Fraction], input_tokens: int, output_tokens: int) -> int:
    """Return the cost in nano-units: exact, rounded once, half to even."""
    return round((price[0] * input_tokens + price[1] * output_tokens) * 1000)

"""Refused requests: who sees which, what narrows them, and why each was refused. The decider itself refuses here."""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import Person
from portal.decision import decide, jobs
from portal.decision.decide import Call, Refused
from portal.decision.explanation import CHECKS
from portal.decision.services import set_limit
from portal.gateway.refusals_words import CODES
from portal.gateway.services import register_gateway
from portal.lib.problems import PROBLEMS
from portal.lib.uuid7 import uuid7
from portal.spend import scopes
from portal.spend.models import Refusal
from projects.models import Project
from projects.services import label_of, set_project_state, update_project
from tests import factories
from tests.factories import ACTOR, Cast
from tokens.models import UserToken
from tokens.services import issue_token, revoke_token

Browse = Callable[[Person], Client]


@dataclass
class Office:
    """The cast with a gateway, a priced model and a token each for Carol (Claims triage) and Dave (Fraud notes)."""

    cast: Cast
    gateway: str
    carols: UserToken
    carols_secret: str
    daves_secret: str

    def limit(self, project: Project, metric: str, window: str, amount: str, mode: str = "enforce") -> None:
        set_limit(
            scope_key=scopes.project(project.pk),
            label=label_of(project),
            metric=metric,
            window=window,
            amount=Decimal(amount),
            mode=mode,
            actor=ACTOR,
        )

    def call(self, secret: str, model: str = "gpt-5-mini", request: str = "") -> Refusal:
        """Ask for a call that is refused, or that only an observed limit would refuse; return what is recorded."""
        request = request or uuid.uuid4().hex
        answer = decide.authorize(
            self.gateway, Call(secret, model, request, input_tokens=1_000_000, max_output_tokens=1_000_000)
        )
        jobs.move_refusals()
        found = Refusal.objects.filter(request_id=request).latest("occurred")
        assert found.is_observed or (isinstance(answer, Refused) and answer.decision_id == str(found.pk))
        return found


@pytest.fixture
def office(clean_state: None) -> Office:
    cast = factories.cast()
    factories.priced()
    _, gateway = register_gateway(name="gw-west", actor=ACTOR)
    carols, secret = issue_token(project=cast.triage, person=cast.carol, name="laptop", days=30, actor=ACTOR)
    _, other = issue_token(project=cast.fraud, person=cast.dave, name="desk", days=30, actor=ACTOR)
    return Office(cast, gateway, carols, secret, other)


def page_of(client: Client, refusal: Refusal) -> str:
    answer = client.get(f"/refusals/{refusal.pk}/")
    assert answer.status_code == 200
    return answer.content.decode()


def listed(client: Client, query: str = "") -> set[str]:
    """Return the ids of the refusals that the list shows."""
    answer = client.get(f"/refusals/{query}")
    assert answer.status_code == 200
    return set(re.findall(r'href="/refusals/([0-9a-f-]{36})/"', answer.content.decode()))


def steps(page: str) -> list[tuple[str, str]]:
    """Return outcome and title of each step of the chain."""
    chain = page[page.index('<ol class="chain">') :]
    return re.findall(r'<h3><span class="sr">([^<]+): </span>([^<]+?)\s*<', chain)


def test_every_limit_stands_with_its_numbers_and_one_binds(office: Office, browse: Browse) -> None:
    office.limit(office.cast.triage, "spend", "day", "1.5")
    office.limit(office.cast.triage, "spend", "month", "1.75")
    office.limit(office.cast.triage, "requests", "minute", "60")
    refusal = office.call(office.carols_secret)
    page = page_of(browse(office.cast.alice), refusal)
    assert "Why was this request refused?" in page
    assert "This request could need $2.00, more than the whole monthly limit of Project Claims triage" in page
    assert [outcome for outcome, _ in steps(page)] == ["Passed"] * 7 + ["Failed", "Failed", "Passed"]
    assert page.count('class="bad binds"') == 1
    assert page.count('class="bad"') == 1
    assert "$0.00 spent of $1.50. This request could cost up to $2.00. $1.50 is left." in page
    assert "0 used of 60." in page
    assert "HTTP 429" in page
    assert f'href="/projects/{office.cast.triage.code}/limits/">Raise the limit' in page
    for fact in ("Carol Member", "laptop", "gpt-5-mini", "gw-west", refusal.request_id, str(refusal.pk)):
        assert fact in page


def test_a_limit_that_is_used_up_says_until_when(office: Office, browse: Browse) -> None:
    office.limit(office.cast.triage, "spend", "month", "3")
    held = decide.authorize(
        office.gateway,
        Call(office.carols_secret, "gpt-5-mini", "held", input_tokens=1_000_000, max_output_tokens=1),
    )
    assert not isinstance(held, Refused)
    refusal = office.call(office.carols_secret)
    page = page_of(browse(office.cast.bob), refusal)
    assert "left of its monthly limit, $3; this request could need $2.00." in page
    assert "held by calls in flight" in page
    assert "Requests that do not fit are refused until" in page
    assert "See the limits" in page  # an owner does not set them
    assert "Raise the limit" not in page


def test_the_check_that_failed_ends_the_chain(office: Office, browse: Browse) -> None:
    cast, alice = office.cast, browse(office.cast.alice)
    update_project(project=cast.triage, allowed_models=["gpt-5-mini"], actor=ACTOR)
    page = page_of(alice, office.call(office.carols_secret, model="gpt-5-nano"))
    assert [outcome for outcome, _ in steps(page)] == ["Passed"] * 5 + ["Failed"] + ["Not reached"] * 2
    assert "gpt-5-nano was not on the list, which now is: gpt-5-mini" in page
    assert "HTTP 403" in page
    set_project_state(project=cast.triage, state="paused", actor=ACTOR)
    page = page_of(alice, office.call(office.carols_secret))
    assert ("Failed", "Project is active") in steps(page)
    revoke_token(token=office.carols, actor=ACTOR)
    page = page_of(alice, office.call(office.carols_secret))
    assert ("Failed", "Credential is not revoked, expired or suspended") in steps(page)
    assert "Revoked on" in page
    unknown = office.call(re.sub(r".{4}$", "0000", office.carols_secret))
    page = page_of(alice, unknown)
    assert steps(page)[0] == ("Failed", "Credential is known")
    assert "HTTP 401" in page


def test_an_unpriced_model_is_refused_before_any_limit(office: Office, browse: Browse) -> None:
    page = page_of(browse(office.cast.bob), office.call(office.carols_secret, model="new"))
    assert ("Failed", "Model has a price") in steps(page)
    assert "No limit was looked at" in page


def test_what_only_an_observing_limit_would_refuse_is_marked(office: Office, browse: Browse) -> None:
    office.limit(office.cast.triage, "spend", "day", "1", mode="observe")
    refusal = office.call(office.carols_secret)
    assert refusal.is_observed
    page = page_of(browse(office.cast.alice), refusal)
    assert "Why would this request be refused?" in page
    assert "so the request went through" in page
    assert "The caller saw" not in page
    assert ("Would refuse", "Project Claims triage: daily limit") in steps(page)
    assert "Would refuse" in browse(office.cast.alice).get("/refusals/").content.decode()


def test_owners_do_not_see_what_others_spend(office: Office, browse: Browse) -> None:
    set_limit(
        scope_key="o", label="Organization", metric="spend", window="day", amount=Decimal("77.5"), actor=ACTOR
    )
    office.limit(office.cast.triage, "spend", "day", "1")
    refusal = office.call(office.carols_secret)
    assert "77.5" in page_of(browse(office.cast.alice), refusal)
    for person in (office.cast.bob, office.cast.carol):
        page = page_of(browse(person), refusal)
        assert "77.5" not in page
        assert "Shared with others. It had room." in page


def test_everybody_sees_the_refusals_that_are_theirs(office: Office, browse: Browse) -> None:
    cast = office.cast
    office.limit(cast.triage, "requests", "day", "0")
    office.limit(cast.fraud, "requests", "day", "0")
    carols, daves = office.call(office.carols_secret), office.call(office.daves_secret)
    _, secret = issue_token(project=cast.triage, person=cast.bob, name="own", days=9, actor=ACTOR)
    bobs = office.call(secret)
    nobody = office.call(re.sub(r".{4}$", "0000", office.carols_secret))
    gina = factories.person("Gina Group", role="group_admin", group=cast.claims)
    everything = {carols, daves, bobs, nobody}
    visible = {
        cast.alice: everything,
        cast.erin: everything,
        gina: {carols, bobs},
        cast.bob: {carols, bobs},
        cast.carol: {carols},
        cast.dave: {daves},
    }
    for person, expected in visible.items():
        client = browse(person)
        assert listed(client) == {str(refusal.pk) for refusal in expected}, person
        for refusal in everything:
            # One that is so new might be on its way, for all a stranger is told.
            text = page_of(client, refusal)
            assert ("not recorded yet" in text) == (refusal not in expected), person


def old(office: Office, **values: object) -> Refusal:
    """Record a refusal of Carol's of some time ago."""
    moment = datetime.now(UTC) - timedelta(days=2)
    return Refusal.objects.create(
        **{
            "decision_id": uuid.UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | 5),
            "occurred": moment,
            "code": "project_inactive",
            "gateway": "gateway00000",
            "request_id": "old",
            "credential": office.carols.key_id,
            "project": office.cast.triage.pk,
            "person": office.cast.carol.pk,
            "model": "gpt-5-mini",
            **values,
        }
    )


def test_outside_of_their_scope_there_is_nothing(office: Office, browse: Browse) -> None:
    refusal = old(office)
    assert browse(office.cast.carol).get(f"/refusals/{refusal.pk}/").status_code == 200
    assert browse(office.cast.dave).get(f"/refusals/{refusal.pk}/").status_code == 404
    assert browse(office.cast.alice).get(f"/refusals/{uuid.uuid4()}/").status_code == 404


def test_one_that_is_not_recorded_yet_looks_again_by_itself(office: Office, browse: Browse) -> None:
    decision_id = uuid7()
    page = browse(office.cast.bob).get(f"/refusals/{decision_id}/").content.decode()
    assert "not recorded yet" in page
    assert f'hx-get="/refusals/{decision_id}/"' in page
    assert 'hx-trigger="every 2s"' in page


def test_filters_narrow_the_list(office: Office, browse: Browse) -> None:
    cast, alice = office.cast, browse(office.cast.alice)
    office.limit(cast.triage, "requests", "day", "0")
    new, before = office.call(office.carols_secret), old(office)
    other = old(
        office,
        decision_id=uuid.uuid4(),
        project=cast.fraud.pk,
        person=cast.dave.pk,
        model="other",
        credential="other",
    )
    ids = {name: str(refusal.pk) for name, refusal in {"new": new, "before": before, "other": other}.items()}
    expected = {
        "": {"new", "before", "other"},
        f"?project={cast.triage.pk}": {"new", "before"},
        f"?person={cast.dave.pk}": {"other"},
        "?model=other": {"other"},
        "?code=limit_exceeded": {"new"},
        f"?limit=p:{cast.triage.pk}|requests|day|": {"new"},
        f"?q={office.carols.hint}": {"new", "before"},
        f"?q={new.request_id}": {"new"},
        f"?q={before.pk}": {"before"},
        "?period=1": {"new"},
        f"?period=dates&last={before.occurred.date()}": {"before", "other"},
        "?model=nothing": set(),
        "?project=99999&code=nonsense": {"new", "before", "other"},
    }
    for query, names in expected.items():
        assert listed(alice, query) == {ids[name] for name in names}, query


def test_the_reasons_of_the_day_are_summed_up(office: Office, browse: Browse) -> None:
    office.limit(office.cast.triage, "requests", "day", "0")
    for _ in range(3):
        refusal = office.call(office.carols_secret)
    Refusal.objects.filter(pk=refusal.pk).update(count=40)
    old(office)  # more than a day ago
    page = browse(office.cast.bob).get("/refusals/").content.decode()
    summary = page[page.index("Reasons, last 24 hours") : page.index("Refused requests, newest first")]
    assert "Project Claims triage: daily request limit" in summary
    assert re.findall(r'<td class="num[^"]*">([\d,]+)</td>', summary) == ["42", "1", "1"]
    assert "42 requests</b> from 1 person in this project" in page_of(browse(office.cast.bob), refusal)


def test_the_list_takes_few_queries_whatever_its_length(office: Office, browse: Browse) -> None:
    for number in range(60):
        old(office, decision_id=uuid.uuid4(), request_id=f"r{number}")
    alice = browse(office.cast.alice)
    with CaptureQueriesContext(connection) as queries:
        assert len(listed(alice)) == 50
    assert len(queries) <= 26


def test_every_code_of_a_refusal_can_be_chosen_and_is_explained() -> None:
    assert {code for check in CHECKS for code in check.codes} == set(CODES)
    assert set(CODES) <= set(PROBLEMS)

"""Find a call: who sees it, everything that was booked for it, and how it is corrected and voided."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from audit.models import AuditEntry
from portal.decision.corrections import Used, correct_usage
from portal.decision.reservation import Reservation, encode, request_hash
from portal.gateway.models import Gateway
from portal.gateway.services import register_gateway
from portal.lib.errors import RuleBroken
from portal.spend import inbox
from portal.spend.models import Price
from tests import factories
from tests.factories import Cast

Browse = Callable[[Any], Client]
GATEWAY = "edge00000000"
PAGE = "/calls/"
NAMED = urlencode({"id": "req/1", "gateway": GATEWAY})
CORRECT, VOID = f"/calls/correct/?{NAMED}", f"/calls/void/?{NAMED}"
NUMBERS = {
    "input_tokens": "2,000",
    "output_tokens": "100",
    "cached_input_tokens": "0",
    "cache_write_tokens": "0",
    "reasoning_tokens": "0",
    "reason": "counted twice",
}

pytestmark = pytest.mark.django_db


@pytest.fixture
def call(cast: Cast) -> Cast:
    """Carol's call in Claims triage, at a dollar per million tokens."""
    gateway, _ = register_gateway(name="edge", actor=factories.ACTOR)
    Gateway.objects.filter(pk=gateway.pk).update(key_id=GATEWAY)
    factories.priced(each="1")
    price = Price.objects.get().pk
    named: dict[str, Any] = {"gateway": GATEWAY, "request_id": "req/1", "price_id": price}
    factories.usage(cast.triage, "0.0011", person=cast.carol, **named)
    return cast


def guess(cast: Cast, *, is_moved: bool) -> datetime:
    """Book an estimate of three dollars for a call that nobody has reported, and return its moment."""
    factories.priced(each="1")
    moment = datetime.now(UTC)
    named: dict[str, Any] = {"gateway": GATEWAY, "request_id": "req/1", "kind": "estimate", "moment": moment}
    gateway, _ = register_gateway(name="edge", actor=factories.ACTOR)
    Gateway.objects.filter(pk=gateway.pk).update(key_id=GATEWAY)
    price = Price.objects.get().pk
    factories.usage(cast.triage, "3", person=cast.carol, price_id=price, is_moved=is_moved, **named)
    return moment


def found(browser: Client, text: str = "req/1") -> Any:
    """Return the calls the page shows under an id."""
    answer = browser.get(PAGE, {"q": text, "gateway": GATEWAY})
    assert answer.status_code == 200
    return answer.context["found"]


def entered(answer: Any, **change: Any) -> dict[str, str]:
    """Return the form of a page as a browser would send it after something was typed."""
    form = answer.context["form"]
    sent = {name: str(form[name].value() or "") for name in form.fields}
    sent = {name: "" if value == "None" else value for name, value in sent.items()}
    return {**sent, "calls": "1", **change}


def booked() -> list[tuple[str, int, int]]:
    """Return the rows of the inbox: kind, calls, spend."""
    return [(row.entry.kind, row.entry.calls, row.entry.spend) for row in inbox.waiting(100)]


def test_those_who_look_after_the_project_and_the_caller_see_a_call(call: Cast, browse: Browse) -> None:
    for who in (call.alice, call.erin, call.bob, call.carol):
        assert len(found(browse(who))) == 1
    assert not found(browse(call.dave))
    mira = factories.person("Mira Member")
    call.triage.memberships.create(person=mira, role="member")
    assert not found(browse(mira))


def test_a_call_is_found_by_its_reservation(call: Cast, browse: Browse) -> None:
    moment = inbox.waiting(1)[0].entry.moment
    held = Reservation(
        moment=int(moment.timestamp() * 1000),
        project=call.triage.pk,
        group=0,
        person=call.carol.pk,
        draws_on=0,
        price=0,
        amount=5,
        tokens=7,
        credential="credential00",
        gateway=GATEWAY,
        request=request_hash("req/2"),
    )
    answer = browse(call.bob).get(PAGE, {"q": encode(held)})
    assert "Nothing is booked for this reservation" in answer.content.decode()
    at = datetime.fromtimestamp(held.moment / 1000, UTC)
    named: dict[str, Any] = {"gateway": GATEWAY, "request_id": "req/2"}
    factories.usage(call.triage, "1", moment=at, is_moved=True, **named)
    assert [told.call.entry.request_id for told in found(browse(call.bob), encode(held))] == ["req/2"]
    assert not found(browse(call.dave), encode(held))


def test_the_difference_is_shown_before_it_is_booked(call: Cast, browse: Browse) -> None:
    alice = browse(call.alice)
    form = alice.get(CORRECT)
    shown = alice.post(CORRECT, entered(form, **NUMBERS))
    assert shown.status_code == 200
    assert "$0.002100000" in shown.content.decode()
    assert booked() == [("settle", 1, 1_100_000)]
    # What was looked at is what is booked: other numbers are shown first.
    other = alice.post(CORRECT, entered(shown, **{**NUMBERS, "input_tokens": "3000"}))
    assert other.status_code == 200
    assert alice.post(CORRECT, entered(shown, **NUMBERS)).status_code == 302
    assert booked() == [("settle", 1, 1_100_000), ("correction", 0, 1_000_000)]
    entry = AuditEntry.objects.get(action="usage.corrected")
    assert entry.comment == "counted twice"
    assert entry.changes == {"input_tokens": [1000, 2000], "spend": [1_100_000, 2_100_000]}
    [told] = found(alice)
    assert told.call.totals.spend == 2_100_000
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # the audit log seals its entries at the commit
    assert "See the call" in alice.get("/audit/", {"open": entry.seal.seq}).content.decode()


def test_an_amount_replaces_the_price(call: Cast, browse: Browse) -> None:
    alice = browse(call.alice)
    wanted = {**NUMBERS, "amount": "0.5"}
    shown = alice.post(CORRECT, entered(alice.get(CORRECT), **wanted))
    assert alice.post(CORRECT, entered(shown, **wanted)).status_code == 302
    assert sum(spend for _, _, spend in booked()) == 500_000_000


def test_the_later_of_two_corrections_is_refused_with_both_values(call: Cast, browse: Browse) -> None:
    alice, other = browse(call.alice), browse(factories.person("Anna Admin", role="admin"))
    later = other.post(CORRECT, entered(other.get(CORRECT), **{**NUMBERS, "input_tokens": "5000"}))
    shown = alice.post(CORRECT, entered(alice.get(CORRECT), **NUMBERS))
    assert alice.post(CORRECT, entered(shown, **NUMBERS)).status_code == 302
    refused = other.post(CORRECT, entered(later, **{**NUMBERS, "input_tokens": "5000"}))
    if refused.status_code == 200:  # the difference is another one by now
        refused = other.post(CORRECT, entered(refused, **{**NUMBERS, "input_tokens": "5000"}))
    assert refused.status_code == 422
    text = refused.content.decode()
    assert "now “2,000”" in text
    assert "“5,000”" in text
    assert len(booked()) == 2


def test_a_voided_call_counts_nowhere_and_can_be_corrected_back(call: Cast, browse: Browse) -> None:
    alice = browse(call.alice)
    assert alice.post(VOID, entered(alice.get(VOID), reason="")).status_code == 422
    assert alice.post(VOID, entered(alice.get(VOID), reason="never sent")).status_code == 302
    assert booked() == [("settle", 1, 1_100_000), ("correction", -1, -1_100_000)]
    assert "Voided" in alice.get(PAGE, {"q": "req/1", "gateway": GATEWAY}).content.decode()
    form = entered(alice.get(CORRECT), **NUMBERS) | {"calls": "0"}
    shown = alice.post(CORRECT, form)
    assert alice.post(CORRECT, entered(shown, **NUMBERS) | {"calls": "0"}).status_code == 302
    assert sum(spend for _, _, spend in booked()) == 2_100_000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cached_input_tokens": "2001"}, "Cached tokens are a part of the input"),
        ({"reasoning_tokens": "101"}, "Reasoning tokens are a part of the output"),
        ({"amount": "-1"}, "Enter 0 or more"),
        ({"reason": ""}, "Fill this in"),
        ({"input_tokens": "1000"}, "This is what the call comes to already"),
    ],
)
def test_what_cannot_be_is_refused_and_kept(
    call: Cast, browse: Browse, change: dict[str, str], says: str
) -> None:
    alice = browse(call.alice)
    answer = alice.post(CORRECT, entered(alice.get(CORRECT), **{**NUMBERS, **change}))
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert len(booked()) == 1


@pytest.mark.parametrize("is_moved", [False, True])
def test_an_estimate_is_corrected_and_voided_like_a_report(
    cast: Cast, browse: Browse, is_moved: bool
) -> None:
    guess(cast, is_moved=is_moved)
    alice = browse(cast.alice)
    assert "It is estimated at $3.000000000" in alice.get(PAGE, {"q": "req/1"}).content.decode()
    shown = alice.post(CORRECT, entered(alice.get(CORRECT), **NUMBERS))
    assert "should the gateway report the call after all" in shown.content.decode()
    assert alice.post(CORRECT, entered(shown, **NUMBERS)).status_code == 302
    [told] = found(alice)
    assert (told.call.totals.calls, told.call.totals.spend) == (1, 2_100_000)
    assert alice.post(VOID, entered(alice.get(VOID), reason="never sent")).status_code == 302
    [told] = found(alice)
    assert (told.call.totals.calls, told.call.totals.spend) == (0, 0)
    assert AuditEntry.objects.filter(action="usage.corrected").count() == 2


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_report_after_all_takes_the_place_of_estimate_and_corrections(
    cast: Cast, browse: Browse, is_moved: bool
) -> None:
    moment = guess(cast, is_moved=is_moved)
    alice = browse(cast.alice)
    late = alice.get(CORRECT)
    shown = alice.post(CORRECT, entered(late, **NUMBERS))
    assert alice.post(CORRECT, entered(shown, **NUMBERS)).status_code == 302
    named: dict[str, Any] = {"gateway": GATEWAY, "request_id": "req/1", "moment": moment, "is_late": True}
    factories.usage(cast.triage, "0.7", price_id=Price.objects.get().pk, **named)
    [told] = found(alice)
    assert (told.call.totals.calls, told.call.totals.spend) == (1, 700_000_000)
    assert {row.entry.kind for row in told.call.rows} == {"estimate", "correction", "reversal", "settle"}
    # From then on the report is what is corrected, and the form that was open on the estimate says so.
    shown = alice.post(CORRECT, entered(late, **NUMBERS))
    assert alice.post(CORRECT, entered(shown, **NUMBERS)).status_code == 422
    estimate = told.call.rows[0].entry
    with pytest.raises(RuleBroken, match="reported the call meanwhile"):
        correct_usage(
            entry_id=estimate.id, moment=moment, used=Used(1, 1), reason="too late", actor=factories.ACTOR
        )
    assert alice.post(VOID, entered(alice.get(VOID), reason="a test of theirs")).status_code == 302
    [told] = found(alice)
    assert (told.call.totals.calls, told.call.totals.spend) == (0, 0)


def test_nobody_else_corrects(call: Cast, browse: Browse) -> None:
    for who in (call.bob, call.carol, call.erin, factories.person("Oscar Operator", role="operator")):
        assert browse(who).post(CORRECT, NUMBERS).status_code == 403
        assert browse(who).post(VOID, {"reason": "mine"}).status_code == 403
    assert len(booked()) == 1


def test_the_command_corrects_and_voids(call: Cast) -> None:
    out = StringIO()
    options: dict[str, Any] = {"reason": "the bill says so", "gateway": GATEWAY, "stdout": out}
    call_command("correct_usage", "req/1", input_tokens=2000, output_tokens=100, **options)
    assert booked()[-1] == ("correction", 0, 1_000_000)
    call_command("correct_usage", "req/1", void=True, **options)
    assert sum(spend for _, _, spend in booked()) == 0
    with pytest.raises(Exception, match="There is no such call"):
        call_command("correct_usage", "req/9", void=True, **options)

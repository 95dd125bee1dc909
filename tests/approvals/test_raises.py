"""Owners lower their limits; a raise is asked for, decided by somebody else, and ends when it should."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from audit.actors import Actor
from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.approvals.models import Request
from portal.approvals.services import approve, expire_one
from portal.decision.services import set_limit
from portal.lib.errors import RuleBroken
from portal.limits.requests import return_one_limit
from portal.notifications.models import Delivery
from portal.spend import scopes
from portal.spend.models import Limit
from tests.factories import ACTOR, Cast, person

Browse = Callable[[Person], Client]
LIMITS = "/projects/claims-triage/limits/"
RAISE = "/limits/raise/?project=claims-triage"
JOB = Actor.job("return_limits")


def limit(cast: Cast, amount: str | None = "100", **fields: Any) -> Limit:
    """Set the project's limit of spend a day and return it."""
    values = {"metric": "spend", "window": "day", "amount": amount, **fields}
    key = scopes.project(cast.triage.pk)
    set_limit(scope_key=key, label="Project Claims triage", actor=ACTOR, **values)
    return Limit.objects.get(scope_key=key, metric=values["metric"], window=values["window"])


def amount(row: Limit) -> int | None:
    """Return how high the limit is now, in units."""
    found = Limit.objects.filter(scope_key=row.scope_key, metric=row.metric, window=row.window).first()
    return found.amount // 10**9 if found else None


def ask(client: Client, row: Limit, wanted: str, **fields: str) -> Any:
    """Ask for a raise in the dialog."""
    seen = client.get(RAISE).context["form"]["seen"].value()
    data = {"limit": str(row.pk), "amount": wanted, "reason": "the campaign", "seen": seen, **fields}
    return client.post(RAISE, data)


def asked(cast: Cast, browse: Browse, wanted: str = "250", **fields: str) -> tuple[Limit, Request]:
    """Bob asks for a raise of 100 a day."""
    row = limit(cast)
    assert ask(browse(cast.bob), row, wanted, **fields).status_code == 302
    return row, Request.objects.get()


def test_an_owner_lowers_and_does_not_raise(cast: Cast, browse: Browse) -> None:
    row, bob = limit(cast), browse(cast.bob)

    def save(daily: str, **more: str) -> Any:
        seen = bob.get(LIMITS).context["form"]["seen"].value()
        return bob.post(LIMITS, {"daily": daily, "seen": seen, **more})

    assert save("80").status_code == 302
    assert amount(row) == 80
    for higher in ("80.01", "", "1000"):
        answer = save(higher)
        assert answer.status_code == 422
        assert "Ask for a raise" in answer.content.decode()
        assert amount(row) == 80
    assert save("80", requests="6000").status_code == 302
    assert browse(cast.carol).post(LIMITS, {"daily": "1"}).status_code == 403


@pytest.mark.parametrize(
    ("change", "is_refused"),
    [
        ({"amount": "100"}, False),
        ({"amount": "99"}, False),
        ({"amount": "100.000000001"}, True),
        ({"amount": None}, True),
        ({"amount": "50", "mode": "observe"}, True),
        ({"amount": "1", "model": "gpt-*"}, False),
    ],
)
def test_the_service_itself_refuses_a_raise(cast: Cast, change: dict[str, Any], is_refused: bool) -> None:
    limit(cast)
    values = {"metric": "spend", "window": "day", "actor": ACTOR, "most_raise": 0, **change}
    key = scopes.project(cast.triage.pk)
    if is_refused:
        with pytest.raises(RuleBroken, match="lower"):
            set_limit(scope_key=key, label="Project", **values)
    else:
        set_limit(scope_key=key, label="Project", **values)


def test_a_limit_of_one_user_is_no_way_around_the_one_of_each(cast: Cast) -> None:
    values: dict[str, Any] = {"metric": "spend", "window": "day", "actor": ACTOR}
    values |= {"label": "Each user", "most_raise": 0}
    each, bob = scopes.project_each_user(cast.triage.pk), scopes.project_user(cast.triage.pk, cast.bob.pk)
    set_limit(scope_key=each, amount="10", **values)
    with pytest.raises(RuleBroken):
        set_limit(scope_key=bob, amount="11", **values)
    set_limit(scope_key=bob, amount="5", **values)
    with pytest.raises(RuleBroken):
        set_limit(scope_key=bob, amount=None, **values)


def test_a_raise_is_asked_for_and_approved(cast: Cast, browse: Browse) -> None:
    row, request = asked(cast, browse)
    assert (request.changes, amount(row)) == ({"spend per day": ["100", "250"]}, 100)
    assert {each.person for each in Delivery.objects.all()} == {cast.alice}
    alice = browse(cast.alice)
    page = alice.get("/requests/").content.decode()
    assert "Claims triage, spend a day" in page
    assert "waiting for you" in page
    assert alice.post(f"/requests/{request.pk}/approve/", {"reason": "fine"}).status_code == 302
    assert amount(row) == 250
    request.refresh_from_db()
    assert (request.state, request.decided_by, request.is_alone) == ("approved", cast.alice, False)
    entries = AuditEntry.objects.filter(action__startswith="request").order_by("occurred")
    actions = list(entries.values_list("action", "actor_id"))
    assert actions == [("request.made", str(cast.bob.pk)), ("request.approved", str(cast.alice.pk))]
    assert "approved by Alice Admin" in str(Delivery.objects.get(person=cast.bob).message)
    assert alice.post(f"/requests/{request.pk}/approve/").status_code == 422


def test_who_asked_does_not_decide(cast: Cast, browse: Browse) -> None:
    grace = person("Grace Claims", role="group_admin", group=cast.claims)
    row = limit(cast)
    assert ask(browse(grace), row, "250").status_code == 302
    request = Request.objects.get()
    for who in (grace, cast.bob, cast.erin):
        answer = browse(who).post(f"/requests/{request.pk}/approve/")
        assert answer.status_code == (422 if who == grace else 403)
    assert browse(cast.dave).post(f"/requests/{request.pk}/approve/").status_code == 404
    assert amount(row) == 100


def test_who_gains_by_it_does_not_decide(cast: Cast, browse: Browse) -> None:
    key = scopes.project_user(cast.triage.pk, cast.alice.pk)
    set_limit(scope_key=key, label="Alice", metric="spend", window="day", amount="5", actor=ACTOR)
    assert ask(browse(cast.bob), Limit.objects.get(), "9").status_code == 302
    request = Request.objects.get()
    assert request.beneficiary == cast.alice
    assert browse(cast.alice).post(f"/requests/{request.pk}/approve/").status_code == 422
    other = browse(person("Arno Other", role="admin"))
    assert other.post(f"/requests/{request.pk}/approve/").status_code == 302


def test_what_has_changed_since_is_not_approved(cast: Cast, browse: Browse) -> None:
    row, request = asked(cast, browse)
    limit(cast, "120")
    limit(cast, "100")
    answer = browse(cast.alice).post(f"/requests/{request.pk}/approve/")
    assert answer.status_code == 422
    assert "changed since" in answer.content.decode()
    assert amount(row) == 100
    request.refresh_from_db()
    assert request.state == "overtaken"


def test_somebody_who_lost_the_role_meanwhile_does_not_approve(cast: Cast, browse: Browse) -> None:
    row, request = asked(cast, browse)
    cast.alice.role_grants.all().delete()
    with pytest.raises(RuleBroken):
        approve(request=request, decider=cast.alice, actor=ACTOR)
    assert amount(row) == 100


def test_declining_and_withdrawing_need_a_reason(cast: Cast, browse: Browse) -> None:
    row, request = asked(cast, browse)
    alice, bob = browse(cast.alice), browse(cast.bob)
    assert alice.post(f"/requests/{request.pk}/decline/").status_code == 422
    assert alice.post(f"/requests/{request.pk}/withdraw/", {"reason": "x"}).status_code == 403
    assert alice.post(f"/requests/{request.pk}/decline/", {"reason": "not this year"}).status_code == 302
    assert "not this year" in bob.get(f"/requests/{request.pk}/").content.decode()
    assert ask(bob, row, "300").status_code == 302
    second = Request.objects.get(state="waiting")
    assert bob.post(f"/requests/{second.pk}/withdraw/").status_code == 422
    assert bob.post(f"/requests/{second.pk}/withdraw/", {"reason": "not needed"}).status_code == 302
    assert alice.post(f"/requests/{second.pk}/approve/").status_code == 422
    assert amount(row) == 100


def test_one_request_at_a_time_for_one_limit(cast: Cast, browse: Browse) -> None:
    row, _ = asked(cast, browse)
    answer = ask(browse(cast.bob), row, "300")
    assert answer.status_code == 422
    assert "Bob Owner has asked for this already" in answer.content.decode()


@pytest.mark.parametrize(("wanted", "says"), [("100", "no raise"), ("80", "no raise"), ("a lot", "amount")])
def test_what_is_no_raise_is_not_asked_for(cast: Cast, browse: Browse, wanted: str, says: str) -> None:
    answer = ask(browse(cast.bob), limit(cast), wanted)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert not Request.objects.exists()


def test_the_asker_sees_what_somebody_changed_meanwhile(cast: Cast, browse: Browse) -> None:
    row, bob = limit(cast), browse(cast.bob)
    seen = bob.get(RAISE).context["form"]["seen"].value()
    limit(cast, "120")
    data = {"limit": str(row.pk), "amount": "250", "reason": "the campaign", "seen": seen}
    answer = bob.post(RAISE, data)
    assert answer.status_code == 422
    assert "It was $100.00 when you opened this; it is $120.00 now" in answer.content.decode()
    assert 'value="250"' in answer.content.decode()
    again = answer.context["form"]["seen"].value()
    assert bob.post(RAISE, {**data, "seen": again}).status_code == 302


def test_a_limit_of_another_project_is_not_asked_for(cast: Cast, browse: Browse) -> None:
    values = {"metric": "spend", "window": "day", "amount": "5", "actor": ACTOR}
    set_limit(scope_key=scopes.project(cast.fraud.pk), label="Fraud", **values)  # type: ignore[arg-type]
    limit(cast)
    foreign = Limit.objects.get(scope_key=scopes.project(cast.fraud.pk))
    assert ask(browse(cast.bob), foreign, "9").status_code == 422
    assert not Request.objects.exists()


def test_after_seven_days_it_expires(cast: Cast, browse: Browse) -> None:
    row, request = asked(cast, browse)
    assert not expire_one(actor=JOB)
    Request.objects.update(expires=datetime.now(UTC) - timedelta(seconds=1))
    answer = browse(cast.alice).post(f"/requests/{request.pk}/approve/")
    assert answer.status_code == 422
    request.refresh_from_db()
    assert (request.state, amount(row)) == ("expired", 100)
    Request.objects.update(state="waiting")
    assert expire_one(actor=JOB)
    assert not expire_one(actor=JOB)
    assert AuditEntry.objects.filter(action="request.expired", actor_type="job").count() == 1


def raised_until(cast: Cast, browse: Browse, row: Limit, wanted: str) -> Request:
    """Bob asks until the end of today, Alice approves, and the day is over."""
    row.refresh_from_db()
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    assert ask(browse(cast.bob), row, wanted, until=day).status_code == 302
    request = Request.objects.get(state="waiting")
    assert browse(cast.alice).post(f"/requests/{request.pk}/approve/").status_code == 302
    return request


def is_over(request: Request) -> None:
    """Let the end of a raise come."""
    Request.objects.filter(pk=request.pk).update(ends=datetime.now(UTC))


def test_at_its_end_the_old_limit_returns_once(cast: Cast, browse: Browse) -> None:
    row = limit(cast)
    request = raised_until(cast, browse, row, "250")
    assert not return_one_limit(actor=JOB)
    is_over(request)
    assert return_one_limit(actor=JOB)
    assert not return_one_limit(actor=JOB)
    assert amount(row) == 100
    assert AuditEntry.objects.filter(action="limit.returned", actor_type="job").count() == 1


def test_a_limit_changed_after_the_raise_stays(cast: Cast, browse: Browse) -> None:
    row = limit(cast)
    request = raised_until(cast, browse, row, "250")
    limit(cast, "70")
    is_over(request)
    assert return_one_limit(actor=JOB)
    assert amount(row) == 70
    assert "stays as it is" in AuditEntry.objects.get(action="limit.returned").comment


@pytest.mark.parametrize("first", [0, 1])
def test_raises_upon_raises_end_in_any_order(cast: Cast, browse: Browse, first: int) -> None:
    row = limit(cast)
    raises = [raised_until(cast, browse, row, wanted) for wanted in ("200", "300")]
    is_over(raises[first])
    assert return_one_limit(actor=JOB)
    assert amount(row) == (300, 200)[first]
    is_over(raises[1 - first])
    assert return_one_limit(actor=JOB)
    assert amount(row) == 100


def test_the_lists_show_and_export_what_one_may_see(cast: Cast, browse: Browse) -> None:
    asked(cast, browse)
    for who, path, is_shown in (
        (cast.alice, "/requests/", True),
        (cast.alice, "/requests/mine/", False),
        (cast.bob, "/requests/", True),
        (cast.erin, "/requests/all/", True),
        (cast.dave, "/requests/all/", False),
        (cast.alice, "/requests/?state=approved", False),
        (cast.alice, "/requests/all/?kind=limit&q=triage", True),
    ):
        assert ("spend a day" in browse(who).get(path).content.decode()) is is_shown, path
    for sort, words in (("-asked", "asked, latest first"), ("asked", "asked, earliest first")):
        assert words in browse(cast.alice).get(f"/requests/all/?sort={sort}").content.decode()
    lines = b"".join(browse(cast.alice).get("/requests/export/all/").streaming_content).decode()  # type: ignore[attr-defined]
    assert '"Claims triage, spend a day",claims-triage,100,250,the campaign' in lines

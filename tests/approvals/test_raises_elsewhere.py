"""Limits of the organization, of groups and of people: a raise beyond the setting needs a second person as well."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from audit.actors import Actor
from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.approvals.models import ApprovalPolicy, Request
from portal.approvals.services import expire_one
from portal.decision.services import set_limit
from portal.directory.selectors import waiting_for_few
from portal.limits.requests import return_one_limit
from portal.notifications.models import Delivery
from portal.spend import scopes
from portal.spend.models import Limit
from tests.factories import ACTOR, Cast, person

Browse = Callable[[Person], Client]
JOB = Actor.job("return_limits")
DAILY = {"metric": "spend", "window": "day"}


@pytest.fixture
def arno(cast: Cast) -> Person:
    """A second administrator; every raise needs one."""
    ApprovalPolicy.objects.create(most_raise=0)
    return person("Arno Other", role="admin")


def limit(key: str, amount: str = "100") -> Limit:
    """Set the spend a day of a scope and return the limit."""
    set_limit(scope_key=key, label="It", amount=amount, actor=ACTOR, **DAILY)  # type: ignore[arg-type]
    return Limit.objects.get(scope_key=key, **DAILY)


def amount(key: str) -> int | None:
    """Return how high the limit is now, in units."""
    found = Limit.objects.filter(scope_key=key, **DAILY).first()
    return found.amount // 10**9 if found else None


def ask(client: Client, query: str, row: Limit, wanted: str, **fields: str) -> Any:
    """Ask for a raise in the dialog."""
    there = f"/limits/raise/?{query}"
    seen = client.get(there).context["form"]["seen"].value()
    data = {"limit": str(row.pk), "amount": wanted, "reason": "the new year", "seen": seen, **fields}
    return client.post(there, data)


def save(client: Client, page: str, **fields: str) -> Any:
    """Save limits on the page of the organization or of a group."""
    return client.post(page, {**fields, "seen": client.get(page).context["form"]["seen"].value()})


def places(cast: Cast) -> dict[str, tuple[str, str, str]]:
    """Return by name the scope, its page and how the address of its raises names it."""
    return {
        "organization": (scopes.ORGANIZATION, "/settings/limits/", ""),
        "each": (scopes.EACH_USER, "/settings/limits/", ""),
        "person": (scopes.user(cast.carol.pk), "", f"person={cast.carol.pk}"),
        "group": (scopes.group(cast.claims.pk), "/groups/claims/", "group=claims"),
    }


EVERYWHERE = pytest.mark.parametrize("where", ["organization", "each", "person", "group"])


@EVERYWHERE
def test_an_administrator_lowers_and_asks_another_to_raise(
    cast: Cast, browse: Browse, arno: Person, where: str
) -> None:
    key, page, query = places(cast)[where]
    row, alice = limit(key), browse(cast.alice)
    change = f"/limits/{row.pk}/"
    data = {"mode": "enforce", "seen": alice.get(change).context["form"]["seen"].value()}
    for more in ({"amount": "150"}, {"amount": "50", "mode": "observe"}):
        answer = alice.post(change, {**data, **more})
        assert (answer.status_code, amount(key)) == (422, 100)
        assert "Ask for a raise" in answer.content.decode()
    assert alice.post(f"{change}remove/", {"reason": "x"}).status_code == 422
    if page:
        field = "each_user" if where == "each" else "daily"
        for higher in ("150", ""):
            assert save(alice, page, **{field: higher}).status_code == 422
        assert save(alice, page, **{field: "90"}).status_code == 302
        assert amount(key) == 90
        row.refresh_from_db()
    before = "90" if page else "100"
    assert ask(alice, query, row, "150").status_code == 302
    request = Request.objects.get()
    assert request.changes == {"spend per day": [before, "150"]}
    assert request.version.startswith(f"{row.pk}:")
    assert {each.person for each in Delivery.objects.all()} == {arno}
    assert alice.post(f"/requests/{request.pk}/approve/").status_code == 422, "who asked does not decide"
    assert amount(key) == int(before)
    listed = browse(arno).get("/requests/").content.decode()
    assert request.label in listed
    assert browse(arno).post(f"/requests/{request.pk}/approve/").status_code == 302
    assert amount(key) == 150
    entry = AuditEntry.objects.filter(action="limit.changed").latest("recorded")
    assert (entry.actor_id, f"request {request.pk}" in entry.comment) == (str(arno.pk), True)


@pytest.mark.parametrize(
    ("most", "wanted", "goes"), [(50, "150", True), (50, "151", False), (None, "900", True)]
)
def test_a_raise_within_the_setting_needs_nobody(
    cast: Cast, browse: Browse, most: int | None, wanted: str, goes: bool
) -> None:
    ApprovalPolicy.objects.create(most_raise=most)
    limit(scopes.ORGANIZATION)
    answer = save(browse(cast.alice), "/settings/limits/", daily=wanted)
    assert answer.status_code == (302 if goes else 422)
    assert amount(scopes.ORGANIZATION) == (int(wanted) if goes else 100)


def test_who_administers_a_group_always_asks_for_the_group_s_own(cast: Cast, browse: Browse) -> None:
    key = scopes.group(cast.claims.pk)
    grace = person("Grace Claims", role="group_admin", group=cast.claims)
    person("Gustav Claims", role="group_admin", group=cast.claims)
    row, client = limit(key), browse(grace)
    assert save(client, "/groups/claims/", daily="101").status_code == 422
    assert client.post(f"/limits/{row.pk}/remove/", {"reason": "x"}).status_code == 403
    assert save(client, "/groups/claims/", daily="99").status_code == 302
    row.refresh_from_db()
    assert ask(client, "group=claims", row, "120").status_code == 302
    request = Request.objects.get()
    assert (request.group, request.project) == (cast.claims, None)
    assert "Grace Claims" in client.get("/groups/claims/").content.decode()
    gustav = browse(Person.objects.get(name="Gustav Claims"))
    assert gustav.get(f"/requests/{request.pk}/").status_code == 200, "who administers the group may see it"
    assert gustav.post(f"/requests/{request.pk}/approve/").status_code == 403, "and gains by it"
    for outsider in (cast.dave, cast.bob):
        assert browse(outsider).get(f"/requests/{request.pk}/").status_code == 404
    assert {each.person for each in Delivery.objects.all()} == {cast.alice}
    assert browse(cast.alice).post(f"/requests/{request.pk}/approve/").status_code == 302
    assert amount(key) == 120


def test_who_administers_a_group_asks_for_no_other_s(cast: Cast, browse: Browse) -> None:
    grace = browse(person("Grace Claims", role="group_admin", group=cast.claims))
    row = limit(scopes.ORGANIZATION)
    limit(scopes.group(cast.claims.pk))
    assert grace.get("/limits/raise/").status_code == 403
    assert ask(grace, "group=claims", row, "900").status_code == 422
    assert not Request.objects.exists()


def test_of_a_person_s_own_limit_that_person_does_not_decide(
    cast: Cast, browse: Browse, arno: Person
) -> None:
    row = limit(scopes.user(arno.pk))
    assert ask(browse(cast.alice), f"person={arno.pk}", row, "200", until="").status_code == 302
    request = Request.objects.get()
    assert (request.beneficiary, request.state) == (arno, "approved" if request.is_alone else "waiting")
    assert request.is_alone, "nobody else could have decided it"


@EVERYWHERE
def test_what_has_changed_since_is_not_approved(cast: Cast, browse: Browse, arno: Person, where: str) -> None:
    key, _, query = places(cast)[where]
    row = limit(key)
    assert ask(browse(cast.alice), query, row, "150").status_code == 302
    limit(key, "80")
    limit(key, "100")
    request = Request.objects.get()
    answer = browse(arno).post(f"/requests/{request.pk}/approve/")
    assert (answer.status_code, amount(key)) == (422, 100)
    request.refresh_from_db()
    assert request.state == "overtaken"


def test_after_seven_days_it_expires(cast: Cast, browse: Browse, arno: Person) -> None:
    assert ask(browse(cast.alice), "", limit(scopes.ORGANIZATION), "150").status_code == 302
    request = Request.objects.get()
    assert timedelta(days=6, hours=23) < request.expires - request.created <= timedelta(days=7, minutes=1)
    Request.objects.update(expires=datetime.now(UTC) - timedelta(seconds=1))
    assert browse(arno).post(f"/requests/{request.pk}/approve/").status_code == 422
    assert amount(scopes.ORGANIZATION) == 100
    Request.objects.update(state="waiting")
    assert expire_one(actor=JOB)


@EVERYWHERE
def test_at_its_end_the_old_limit_returns(cast: Cast, browse: Browse, arno: Person, where: str) -> None:
    key, _, query = places(cast)[where]
    row, day = limit(key), f"{datetime.now(UTC):%Y-%m-%d}"
    assert ask(browse(cast.alice), query, row, "150", until=day).status_code == 302
    request = Request.objects.get()
    assert browse(arno).post(f"/requests/{request.pk}/approve/").status_code == 302
    assert not return_one_limit(actor=JOB)
    Request.objects.update(ends=datetime.now(UTC))
    assert return_one_limit(actor=JOB)
    assert not return_one_limit(actor=JOB)
    assert amount(key) == 100
    assert AuditEntry.objects.get(action="limit.returned").group_id == request.group_id


def test_a_limit_returns_though_its_siblings_leave_no_room_now(cast: Cast, browse: Browse) -> None:
    ApprovalPolicy.objects.create(most_raise=0, overcommit="refuse")
    arno, key = person("Arno Other", role="admin"), scopes.group(cast.claims.pk)
    limit(scopes.ORGANIZATION, "500")
    row = limit(key)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    assert ask(browse(cast.alice), "group=claims", row, "", until=day).status_code == 302
    assert browse(arno).post(f"/requests/{Request.objects.get().pk}/approve/").status_code == 302
    assert amount(key) is None
    limit(scopes.project(cast.fraud.pk), "450")
    Request.objects.update(ends=datetime.now(UTC))
    assert return_one_limit(actor=JOB)
    assert amount(key) == 100


def test_a_deleted_group_s_limit_does_not_return(cast: Cast, browse: Browse, arno: Person) -> None:
    team = cast.claims.__class__.objects.create(code="team", name="Team")
    key, day = scopes.group(team.pk), f"{datetime.now(UTC):%Y-%m-%d}"
    row, alice = limit(key), browse(cast.alice)
    assert ask(alice, "group=team", row, "", until=day).status_code == 302
    request = Request.objects.get()
    assert browse(arno).post(f"/requests/{request.pk}/approve/").status_code == 302
    assert alice.post("/groups/team/delete/", {"confirm": "team"}).status_code == 302
    assert alice.get(f"/requests/{request.pk}/").status_code == 200
    Request.objects.update(ends=datetime.now(UTC))
    assert return_one_limit(actor=JOB)
    assert amount(key) is None


def test_the_page_of_somebody_who_left_knows_what_waited_for_them(
    cast: Cast, browse: Browse, arno: Person
) -> None:
    row = limit(scopes.group(cast.claims.pk))
    grace = person("Grace Claims", role="group_admin", group=cast.claims)
    assert ask(browse(grace), "group=claims", row, "150").status_code == 302
    request = Request.objects.get()
    assert waiting_for_few(arno) == [(request, 1)]
    assert waiting_for_few(grace) == []


def test_the_list_of_limits_leads_to_the_raise(cast: Cast, browse: Browse, arno: Person) -> None:
    rows = {name: limit(key) for name, (key, _, _) in places(cast).items()}
    listed = browse(cast.alice).get("/limits/").content.decode()
    for name, (_, _, query) in places(cast).items():
        assert f"/limits/raise/?{query or 'organization='}&amp;limit={rows[name].pk}" in listed
    assert "/limits/raise/" not in browse(cast.erin).get("/limits/").content.decode()


def test_the_command_on_the_server_is_not_held_up(cast: Cast, arno: Person) -> None:
    limit(scopes.ORGANIZATION)
    call_command("set_limit", "--organization", "--metric", "spend", "--window", "day", "--amount", "200")
    assert amount(scopes.ORGANIZATION) == 200

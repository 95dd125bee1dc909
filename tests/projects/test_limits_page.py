"""Limits and rates of a project: the chain, the preview, and two people editing."""

from collections.abc import Callable

from django.test import Client

from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision.models import Subject
from portal.decision.services import set_limit
from portal.spend import scopes
from portal.spend.models import Limit
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]
PAGE = "/projects/claims-triage/limits/"


def amounts(cast: Cast) -> dict[tuple[str, str], int]:
    """Return the project's limits."""
    rows = Limit.objects.filter(scope_key=scopes.project(cast.triage.pk))
    return {(row.metric, row.window): row.amount for row in rows}


def seen(client: Client) -> str:
    """Open the page and return what it remembers of it."""
    return str(client.get(PAGE).context["form"]["seen"].value())


def organization_limit(amount: str) -> None:
    """Limit what the organization spends each day."""
    values = {"metric": "spend", "window": "day", "amount": amount}
    set_limit(scope_key="o", label="Northgate", actor=factories.ACTOR, **values)  # type: ignore[arg-type]


def test_an_administrator_sets_and_removes_limits(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    data = {
        "daily": "$1,500",
        "monthly": "20,000.5",
        "each_user": "25",
        "requests": "6,000",
        "tokens": "1200000",
    }
    answer = alice.post(PAGE, {**data, "seen": seen(alice), "reason": "agreed in May"})
    assert answer.status_code == 302
    assert amounts(cast) == {
        ("spend", "day"): 1500 * 10**9,
        ("spend", "month"): 20_000_500_000_000,
        ("requests", "minute"): 6000,
        ("tokens", "minute"): 1_200_000,
    }
    assert Limit.objects.get(scope_key=scopes.project_each_user(cast.triage.pk)).amount == 25 * 10**9
    assert len(Subject.objects.get(pk=f"l:p:{cast.triage.pk}").data["limits"]) == 4
    assert {entry.comment for entry in AuditEntry.objects.filter(action="limit.created")} == {"agreed in May"}
    alice.post(PAGE, {"daily": "1500", "seen": seen(alice)})
    assert amounts(cast) == {("spend", "day"): 1500 * 10**9}
    assert AuditEntry.objects.filter(action="limit.removed").count() == 4


def test_the_later_of_two_people_is_refused_and_sees_both_values(cast: Cast, browse: Browse) -> None:
    alice, other = browse(cast.alice), browse(factories.person("Arno Other", role="admin"))
    hers, theirs = seen(alice), seen(other)
    assert alice.post(PAGE, {"daily": "450", "seen": hers}).status_code == 302
    answer = other.post(PAGE, {"daily": "500", "seen": theirs})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "The limits were changed while you had them open" in page
    assert "It was no limit when you opened this page; Alice Admin" in page
    assert "$450.00" in page
    assert 'value="500"' in page
    assert amounts(cast) == {("spend", "day"): 450 * 10**9}
    again = answer.context["form"]["seen"].value()
    assert other.post(PAGE, {"daily": "500", "seen": again}).status_code == 302
    assert amounts(cast) == {("spend", "day"): 500 * 10**9}


def test_a_forged_memory_of_the_page_overwrites_nothing(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    alice.post(PAGE, {"daily": "450", "seen": seen(alice)})
    assert alice.post(PAGE, {"daily": "9", "seen": "forged"}).status_code == 422
    assert amounts(cast) == {("spend", "day"): 450 * 10**9}


def test_the_preview_says_what_would_happen_and_saves_nothing(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "40")
    organization_limit("100")
    alice = browse(cast.alice)
    answer = alice.post("/projects/claims-triage/limits/preview/", {"daily": "50"})
    preview = answer.context["preview"]
    assert (preview.left_before, preview.by_before) == (60 * 10**9, "Organization")
    assert (preview.left_after, preview.by_after) == (10 * 10**9, "This project")
    assert not preview.blocks
    assert alice.post("/projects/claims-triage/limits/preview/", {"daily": "40"}).context["preview"].blocks
    assert amounts(cast) == {}
    assert browse(cast.carol).post("/projects/claims-triage/limits/preview/", {}).status_code == 403
    assert browse(cast.dave).post("/projects/claims-triage/limits/preview/", {}).status_code == 404


def test_a_member_sees_limits_and_cannot_change_them(cast: Cast, browse: Browse) -> None:
    carol = browse(cast.carol)
    factories.usage(cast.fraud, "77.77")
    page = carol.get(PAGE)
    assert "form" not in page.context
    assert "77.77" not in page.content.decode(), "what others spend is not an owner's business"
    assert "77.77" in browse(cast.erin).get(PAGE).content.decode()
    assert "77.77" not in browse(cast.bob).get(PAGE).content.decode()
    assert carol.post(PAGE, {"daily": "5"}).status_code == 403
    assert browse(cast.dave).post(PAGE, {"daily": "5"}).status_code == 404
    assert amounts(cast) == {}


def test_an_amount_that_is_none_is_told_beside_its_field(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    answer = alice.post(PAGE, {"daily": "-1", "requests": "many", "seen": seen(alice)})
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {"daily", "requests"}


def test_the_chain_names_the_level_that_decides(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "40", person=cast.carol)
    organization_limit("45")
    scope_key, values = scopes.project_each_user(cast.triage.pk), {"metric": "spend", "window": "day"}
    set_limit(scope_key=scope_key, label="Each", amount="41", actor=factories.ACTOR, **values)  # type: ignore[arg-type]
    context = browse(cast.alice).get(PAGE).context
    assert context["deciding"].place.name == "Organization"
    assert [level.place.name for level in context["levels"]] == [
        "Organization",
        "Group: Claims",
        "This project",
        "Each user",
    ]
    each = context["levels"][-1]
    assert (each.place.detail, each.left) == ("Highest: Carol Member", 10**9)

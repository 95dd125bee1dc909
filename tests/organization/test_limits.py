"""Limits of the organization and of each user, on their page."""

from collections.abc import Callable

from django.test import Client

from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision.models import Subject
from portal.spend import scopes
from portal.spend.models import Limit
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]
PAGE = "/settings/limits/"


def seen(client: Client) -> str:
    """Open the page and return what it remembers of it."""
    return str(client.get(PAGE).context["form"]["seen"].value())


def test_an_administrator_sets_limits_for_everybody(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    data = {"daily": "1,500", "monthly": "30000", "each_user": "25", "requests": "600", "seen": seen(alice)}
    assert alice.post(PAGE, data)["Location"] == PAGE
    rows = Limit.objects.filter(scope_key=scopes.ORGANIZATION).values_list("metric", "window", "amount")
    assert set(rows) == {
        ("spend", "day", 1500 * 10**9),
        ("spend", "month", 30_000 * 10**9),
        ("requests", "minute", 600),
    }
    assert Limit.objects.get(scope_key=scopes.EACH_USER).amount == 25 * 10**9
    assert len(Subject.objects.get(pk="l:o").data["limits"]) == 3
    assert AuditEntry.objects.filter(action="limit.created").count() == 4


def test_a_wrong_amount_is_said_and_the_preview_follows_what_is_typed(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "40")
    alice = browse(cast.alice)
    data = {"daily": "much", "monthly": "500", "seen": seen(alice)}
    answer = alice.post(PAGE, data)
    assert answer.status_code == 422
    assert 'value="much"' in answer.content.decode()
    preview = alice.post(f"{PAGE}preview/", {"daily": "30", "seen": seen(alice)})
    assert "This refuses the very next call." in preview.content.decode()
    assert not Limit.objects.exists()


def test_the_later_of_two_savers_is_refused(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    before = seen(alice)
    alice.post(PAGE, {"daily": "100", "seen": before})
    answer = alice.post(PAGE, {"daily": "50", "seen": before})
    assert answer.status_code == 422
    assert "set it to $100.00 since" in answer.content.decode()


def test_auditors_read_and_others_see_nothing(cast: Cast, browse: Browse) -> None:
    erin = browse(cast.erin)
    assert "form" not in erin.get(PAGE).context
    assert erin.post(PAGE, {"daily": "1"}).status_code == 403
    assert erin.post(f"{PAGE}preview/", {"daily": "1"}).status_code == 403
    assert browse(cast.bob).get(PAGE).status_code == 403
    assert not Limit.objects.exists()


def test_the_tabs_hold_what_the_person_may_open(cast: Cast, browse: Browse) -> None:
    oscar = factories.person("Oscar Operator", role="operator")

    def labels(who: Person) -> list[str]:
        return [tab["label"] for tab in browse(who).get("/settings/").context["tabs"]]

    all_of_them = ["Organization", "Limits", "Notifications", "People", "Roles", "Gateways", "Price book"]
    assert labels(cast.alice) == all_of_them
    assert labels(oscar) == [label for label in all_of_them if label != "People"]

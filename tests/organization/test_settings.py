"""Settings of the organization: who changes them, what is refused, and when days end after a change."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision.models import Subject
from portal.organization.models import Organization
from portal.organization.selectors import current
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]
VALUES = {
    "name": "Northgate",
    "currency": "eur",
    "time_zone": "Europe/Berlin",
    "token_days_default": "30",
    "token_days_max": "180",
    "reminder_days": "7, 30 ,1",
    "unused_flag_days": "60",
    "unused_suspend_days": "120",
    "failure_policy": "open",
    "failure_amount": "12.50",
    "reason": "moved to Berlin",
}


def test_an_administrator_changes_the_settings(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.alice).post("/settings/", VALUES)
    assert answer["Location"] == "/settings/"
    found = current()
    assert (found.name, found.currency, found.time_zone) == ("Northgate", "EUR", "Europe/Berlin")
    assert (found.token_days_default, found.token_days_max) == (30, 180)
    assert (found.reminders, found.unused_flag_days, found.unused_suspend_days) == ((30, 7, 1), 60, 120)
    assert (found.failure_policy, found.failure_amount) == ("open", 12_500_000_000)
    entry = AuditEntry.objects.get(action="organization.changed")
    assert entry.comment == "moved to Berlin"
    assert entry.changes["time_zone"] == ["UTC", "Europe/Berlin"]
    assert entry.changes["failure_amount"] == ["0", "12.5"]
    assert Subject.objects.get(pk="cfg").data["currency"] == "EUR"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": ""}, "Fill this in."),
        ({"currency": "euro"}, "Enter three letters"),
        ({"time_zone": "Mars/Olympus"}, "Choose a time zone from the list"),
        ({"time_zone": "US/Eastern"}, "Choose a time zone from the list"),
        ({"token_days_default": "0"}, "Enter 1 or more."),
        ({"token_days_default": "181"}, "The default may not be longer than the maximum."),
        ({"unused_flag_days": "121"}, "It is flagged before it is suspended."),
        ({"reminder_days": "soon"}, "Enter whole numbers from 1 to 365"),
        ({"reminder_days": "400"}, "Enter whole numbers from 1 to 365"),
        ({"failure_amount": ""}, "Enter the amount up to which calls are admitted."),
        ({"token_days_max": "soon"}, "Enter a whole number"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    cast: Cast, browse: Browse, change: dict[str, str], says: str
) -> None:
    answer = browse(cast.alice).post("/settings/", {**VALUES, **change})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert says in page
    assert "Error: Organization" in page
    assert 'value="moved to Berlin"' in page
    assert not Organization.objects.filter(name="Northgate").exists()


def test_the_currency_is_fixed_by_the_first_usage(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    assert 'name="currency"' in alice.get("/settings/").content.decode()
    factories.usage(cast.triage, "1")
    page = alice.get("/settings/").content.decode()
    assert 'name="currency"' not in page
    assert "Usage has been booked in USD" in page
    assert alice.post("/settings/", VALUES).status_code == 302
    assert (current().currency, current().time_zone) == ("USD", "Europe/Berlin")


def test_auditors_and_operators_read(cast: Cast, browse: Browse) -> None:
    oscar = factories.person("Oscar Operator", role="operator")
    for who in (cast.erin, oscar):
        page = browse(who).get("/settings/").content.decode()
        assert "Only administrators change these settings." in page
        assert "Save settings" not in page
        assert browse(who).post("/settings/", VALUES).status_code == 403
    for who in (cast.bob, cast.carol):
        assert browse(who).get("/settings/").status_code == 403
    assert not Organization.objects.filter(name="Northgate").exists()
    assert AuditEntry.objects.filter(action="access.refused").count() == 2


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """Set the clock of the page."""
    monkeypatch.setattr("portal.organization.views.time.time", moment.timestamp)


def resets(client: Client, zone: str) -> list[Any]:
    """Return the resets that the preview of a time zone shows."""
    return list(client.get("/settings/resets/", {"time_zone": zone}).context["resets"])


def test_the_preview_shows_the_day_that_is_longer(
    cast: Cast, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    Organization.objects.create(time_zone="Europe/Berlin")
    at(monkeypatch, datetime(2026, 10, 23, 12, tzinfo=UTC))
    found = resets(browse(cast.erin), "Europe/Berlin")
    assert [reset.text for reset in found][:3] == [
        "Sat 24 Oct, 00:00",
        "Sun 25 Oct, 00:00",
        "Mon 26 Oct, 00:00",
    ]
    assert [reset.utc for reset in found][:3] == [
        "Fri 23 Oct, 22:00",
        "Sat 24 Oct, 22:00",
        "Sun 25 Oct, 23:00",
    ]
    assert [reset.length for reset in found] == ["24 h", "25 h", "24 h", "24 h", "24 h", "24 h"]
    assert found[2].windows == ("day", "week")


def test_the_preview_shows_the_day_that_is_shorter_and_the_month(
    cast: Cast, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    Organization.objects.create(time_zone="Europe/Berlin")
    at(monkeypatch, datetime(2026, 3, 27, 12, tzinfo=UTC))
    found = resets(browse(cast.alice), "Europe/Berlin")
    assert [reset.length for reset in found] == ["24 h", "23 h", "24 h", "24 h", "24 h", "24 h"]
    assert found[4].windows == ("day", "month")


def test_another_zone_holds_from_the_next_day(
    cast: Cast, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, datetime(2026, 6, 10, 12, tzinfo=UTC))
    alice = browse(cast.alice)
    page = alice.get("/settings/resets/", {"time_zone": "Asia/Tokyo"}).content.decode()
    assert "Asia/Tokyo holds from the next day." in page
    first, second = resets(alice, "Asia/Tokyo")[:2]
    # Today ends as it began, at midnight in UTC; the next day ends at midnight in Tokyo.
    assert (first.utc, first.length) == ("Thu 11 Jun, 00:00", "15 h")
    assert (second.text, second.utc) == ("Fri 12 Jun, 00:00", "Thu 11 Jun, 15:00")
    assert current().time_zone == "UTC"


def test_a_name_that_is_no_zone_shows_no_resets(cast: Cast, browse: Browse) -> None:
    for typed in ("Berl", "", "../../etc/passwd", "\x00"):
        answer = browse(cast.alice).get("/settings/resets/", {"time_zone": typed})
        assert answer.status_code == 200
        assert not answer.context["resets"]


def test_the_later_of_two_saves_is_refused_and_shows_both_values(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    seen = alice.get("/settings/").context["form"].initial["seen"]
    alice.post("/settings/", {**VALUES, "seen": seen})
    answer = alice.post("/settings/", {**VALUES, "seen": seen, "name": "Northgate Mutual"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Somebody else changed this while you had it open." in page
    assert "Changed meanwhile, now “Northgate”. You entered “Northgate Mutual”." in page
    assert 'value="Northgate Mutual"' in page
    assert current().name == "Northgate"

"""The month's usage as a download, of the projects in sight, written down in the audit log."""

import csv
from collections.abc import Callable
from io import StringIO

from django.test import Client

from audit.models import AuditEntry
from portal.accounts.models import Person
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]


def rows(client: Client) -> list[dict[str, str]]:
    """Return the lines of the download."""
    answer = client.get("/usage/export/")
    assert answer.status_code == 200
    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.DictReader(StringIO(text)))


def test_the_month_by_day_project_and_model(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "0.000000001", model="gpt-5.1")
    factories.usage(cast.triage, "2.5", model="gpt-5.1", is_moved=True)
    factories.usage(cast.fraud, "1")
    found = rows(browse(cast.alice))
    assert [(row["Project"], row["Model"], row["Calls"], row["Spend USD"]) for row in found] == [
        ("claims-triage", "gpt-5.1", "2", "2.500000001"),
        ("fraud-notes", "gpt-5-mini", "1", "1"),
    ]
    entry = AuditEntry.objects.get(action="usage.exported")
    assert entry.actor_display.startswith("Alice Admin")
    assert entry.changes["projects"] == [None, 2]


def test_an_owner_takes_away_what_they_see(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "1")
    factories.usage(cast.fraud, "1")
    assert [row["Project"] for row in rows(browse(cast.bob))] == ["claims-triage"]

"""A month that is over keeps its report; what arrives later is the difference, with the call it belongs to."""

import csv
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from audit.actors import Actor
from audit.models import AuditEntry
from groups.services import create_group
from portal.accounts.models import Person
from portal.decision.corrections import Used, correct_usage
from portal.spend import inbox
from portal.spend.models import LedgerRow, MonthLine, MonthReport, Rollup
from portal.spend.months import freeze_months
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]
JOB = Actor.job("freeze_months")
IN_OCTOBER = datetime(2026, 10, 30, 12, tzinfo=UTC)
ENDED = datetime(2026, 11, 1, tzinfo=UTC)
PAGE = "/months/2026/10/"


@pytest.fixture
def october(cast: Cast) -> Cast:
    """Two projects with usage in October, partly still in the inbox when its report was frozen."""
    ledger_for(IN_OCTOBER)
    factories.priced()
    book(cast.triage, "2", is_moved=True)
    book(cast.triage, "0.5")
    book(cast.fraud, "1", is_moved=True)
    assert freeze_months(JOB, ENDED + timedelta(days=1, minutes=10)) == [date(2026, 10, 1)]
    return cast


def ledger_for(moment: datetime) -> None:
    """Make the ledger's partitions back to a moment, wherever the clock stands."""
    back = (datetime.now(UTC) - moment).days // 28 + 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_make_partitions(%s, 3)", [back])


def book(project: Any, spend: str, **fields: Any) -> None:
    """Book a call of October, which arrived at once unless said otherwise."""
    factories.usage(project, spend, moment=IN_OCTOBER, **fields)


def move() -> None:
    """Move everything to the ledger."""
    inbox.move(inbox.waiting(1000))


def shown(browser: Client, address: str = PAGE) -> dict[str, tuple[int, int]]:
    """Return what a page of the month says: name → frozen, since."""
    answer = browser.get(address)
    assert answer.status_code == 200
    rows = answer.context["page"].rows
    return {(row.line.project or row.line.group).name: (row.line.spend, row.since) for row in rows}


def test_a_month_is_frozen_once_and_a_day_after_its_end(cast: Cast) -> None:
    book(cast.triage, "2", is_moved=True)
    assert freeze_months(JOB, ENDED + timedelta(hours=23)) == []
    assert freeze_months(JOB, ENDED + timedelta(hours=25)) == [date(2026, 10, 1)]
    assert freeze_months(JOB, ENDED + timedelta(days=3)) == []
    assert MonthReport.objects.count() == 1
    entry = AuditEntry.objects.get(action="month.frozen")
    assert (entry.target_label, entry.changes["spend"]) == ("October 2026", [None, 2_000_000_000])


def test_every_month_that_was_missed_is_frozen(cast: Cast) -> None:
    for month in (7, 9):
        moment = datetime(2026, month, 15, tzinfo=UTC)
        ledger_for(moment)
        factories.usage(cast.triage, "1", moment=moment, is_moved=True)
    assert freeze_months(JOB, ENDED + timedelta(days=1)) == [
        date(2026, 7, 1),
        date(2026, 8, 1),
        date(2026, 9, 1),
    ]
    assert MonthLine.objects.filter(report__month=date(2026, 8, 1)).count() == 0


def test_later_usage_is_the_difference_and_the_frozen_amount_stays(october: Cast, browse: Browse) -> None:
    alice = browse(october.alice)
    assert shown(alice) == {"Claims triage": (2_500_000_000, 0), "Fraud notes": (1_000_000_000, 0)}
    book(october.triage, "0.25", arrived=ENDED + timedelta(days=9), is_restated=True, request_id="late/1")
    assert shown(alice)["Claims triage"] == (2_500_000_000, 250_000_000)
    move()
    assert shown(alice)["Claims triage"] == (2_500_000_000, 250_000_000)
    answer = alice.get(f"{PAGE}changes/")
    [change] = answer.context["page"].rows
    assert (change.row.request_id, change.project) == ("late/1", october.triage)
    assert "/calls/?q=late/1" in answer.content.decode()
    assert "Restated" in answer.content.decode()
    [month] = alice.get("/months/").context["page"].rows
    assert (month.frozen, month.since, month.now) == (3_500_000_000, 250_000_000, 3_750_000_000)


def test_a_correction_is_the_difference_too(clean_state: None, browse: Browse) -> None:
    cast = factories.cast()
    ledger_for(IN_OCTOBER)
    factories.priced()
    book(cast.triage, "2", is_moved=True)
    freeze_months(JOB, ENDED + timedelta(days=2))
    row = LedgerRow.objects.get()
    correct_usage(
        entry_id=row.id, moment=row.moment, used=Used(1000, 100), amount=5 * 10**8, reason="credit", actor=JOB
    )
    move()
    alice = browse(cast.alice)
    assert shown(alice)["Claims triage"] == (2_000_000_000, -1_500_000_000)
    assert "Correction" in alice.get(f"{PAGE}changes/").content.decode()


def test_what_arrived_while_it_was_frozen_is_in_the_report_or_a_change_never_both(
    cast: Cast, browse: Browse
) -> None:
    now = ENDED + timedelta(days=2)
    for seconds in (0, 200, 400, 4000):
        book(cast.triage, "1", arrived=now - timedelta(seconds=seconds), is_moved=seconds % 400 == 0)
    freeze_months(JOB, now)
    move()
    alice = browse(cast.alice)
    frozen, since = shown(alice)["Claims triage"]
    changes = alice.get(f"{PAGE}changes/").context["page"].rows
    assert (frozen, since) == (2_000_000_000, 2_000_000_000)
    assert sum(change.row.spend for change in changes) == since
    assert frozen + since == sum(row.spend for row in Rollup.objects.filter(scope_key="o"))


def test_groups_stand_with_what_they_owned_when_the_call_was_made(october: Cast, browse: Browse) -> None:
    other = create_group(code="other", name="Other", actor=factories.ACTOR)
    type(october.triage).objects.filter(pk=october.triage.pk).update(group=other)
    assert shown(browse(october.alice), f"{PAGE}?of=groups") == {"Claims": (2_500_000_000, 0)}


def test_each_sees_what_they_look_after(october: Cast, browse: Browse) -> None:
    grace = factories.person("Grace Claims", role="group_admin", group=october.claims)
    assert set(shown(browse(october.erin))) == {"Claims triage", "Fraud notes"}
    for who in (october.bob, grace):
        browser = browse(who)
        assert set(shown(browser)) == {"Claims triage"}
        [month] = browser.get("/months/").context["page"].rows
        assert month.frozen == 2_500_000_000
    assert set(shown(browse(grace), f"{PAGE}?of=groups")) == {"Claims"}
    assert shown(browse(october.bob), f"{PAGE}?of=groups") == {}
    book(october.fraud, "9", arrived=ENDED + timedelta(days=9), is_moved=True)
    assert not browse(october.bob).get(f"{PAGE}changes/").context["page"].rows
    assert browse(october.carol).get(PAGE).status_code == 403


def test_the_download_is_as_filtered_and_audited(october: Cast, browse: Browse) -> None:
    book(october.triage, "0.000000001", arrived=ENDED + timedelta(days=9))
    answer = browse(october.alice).get(f"{PAGE}export/?q=triage")
    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    [row] = csv.DictReader(StringIO(text))
    assert (row["Code"], row["Group"], row["Calls"]) == ("claims-triage", "Claims", "2")
    assert (row["Frozen USD"], row["Since then USD"], row["Now USD"]) == ("2.5", "0.000000001", "2.500000001")
    assert AuditEntry.objects.get(action="month.exported").changes["rows"] == [None, 1]


def test_nobody_changes_a_report(october: Cast) -> None:
    line = MonthLine.objects.filter(scope_key="o")
    for change in (
        lambda: line.update(spend=0),
        lambda: line.delete(),
        lambda: MonthReport.objects.update(frozen=ENDED),
    ):
        with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
            change()


def test_the_list_says_when_there_is_none(cast: Cast, browse: Browse) -> None:
    assert "No month is frozen yet" in browse(cast.alice).get("/months/").content.decode()
    for address in ("/months/2026/13/", "/months/2026/10/", "/months/0/1/"):
        assert browse(cast.alice).get(address).status_code == 404

"""What is old goes by policy, roll-ups stay, and the books still agree."""

import os
from datetime import timedelta
from unittest import mock

import pytest
from django.db import connection
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor
from audit.models import AuditEntry
from portal.decision import check
from portal.lib.uuid7 import uuid7
from portal.spend import inbox, retention
from portal.spend.models import LedgerRow, Refusal, Rollup
from tests.spend.test_partitions import application, partitions

ACTOR = Actor.job("drop_old")
__all__ = ["application"]


def book(days_ago: int) -> None:
    """Put one call of so many days ago into ledger and roll-up."""
    moment = timezone.now() - timedelta(days=days_ago)
    values = dict.fromkeys(inbox.COLUMNS)
    numbers = {"calls": 1, "input_tokens": 3, "output_tokens": 2, "spend": 7, "cached_input_tokens": 0}
    values |= {
        **numbers,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "is_late": False,
        "is_restated": False,
    }
    values |= {"id": uuid7(), "moment": moment, "day": moment.date(), "occurred": moment, "arrived": moment}
    texts = {"kind": "settle", "gateway": "g", "credential": "c", "model": "small", "status": "ok"}
    entry = inbox.Entry(**{**values, **texts, "project": 1, "request_id": f"{days_ago}"})  # type: ignore[arg-type]
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_make_partitions(%s, 3)", [days_ago // 30 + 1])
    inbox.move(inbox.add_settlements([entry]))


def keys() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM usage_key")
        return int(cursor.fetchone()[0])


def test_old_partitions_go_and_their_roll_ups_stay(clean_state: None) -> None:
    for days_ago in (900, 500, 10):
        book(days_ago)
    with mock.patch("django.conf.settings.LEDGER_MONTHS", 25):
        dropped = retention.drop_old(ACTOR)
        assert retention.drop_old(ACTOR) == []

    assert dropped
    assert not set(dropped) & set(partitions())
    assert LedgerRow.objects.count() == 2
    assert Rollup.objects.filter(scope_key="o").count() == 3
    assert check.rollup_differences() == []
    [entry] = AuditEntry.objects.filter(action=Action.USAGE_DROPPED)
    assert dropped[0] in str(entry.changes)


def test_a_difference_in_what_is_kept_is_found_after_a_drop_too(clean_state: None) -> None:
    for days_ago in (900, 10):
        book(days_ago)
    retention.drop_old(ACTOR)
    Rollup.objects.filter(scope_key="o", day__gt=timezone.now() - timedelta(days=20)).update(spend=8)
    assert len(check.rollup_differences()) == 1


@pytest.mark.usefixtures("clean_state")
def test_what_may_be_restated_is_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    book(40)
    monkeypatch.setattr("django.conf.settings.LEDGER_MONTHS", 1)
    retention.drop_old(ACTOR)
    assert LedgerRow.objects.count() == 1
    monkeypatch.setattr("django.conf.settings.LEDGER_MONTHS", 0)
    book(2000)
    assert retention.drop_old(ACTOR) == []


def test_keys_and_refusals_that_decide_nothing_any_more_go(
    clean_state: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days_ago in (60, 41, 36, 1):
        book(days_ago)
    for days_ago in (500, 399):
        Refusal.objects.create(
            decision_id=uuid7(), occurred=timezone.now() - timedelta(days=days_ago), code="model_unpriced",
            gateway="g", request_id="r", credential="c", model="m",
        )  # fmt: skip
    monkeypatch.setattr(retention, "_PAGES", 1)
    retention.drop_old(ACTOR)
    assert keys() == 2
    assert Refusal.objects.count() == 1
    assert inbox.has_usage()


def test_the_application_s_role_may_do_it(
    clean_state: None, application: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    book(900)
    assert os.environ["TEST_DATABASE_APP_URL"]
    with application.cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SELECT ledger_drop_partitions(25)")
        assert "ledger_" in str(cursor.fetchone())

"""The sample organization: complete, consistent, made once, and never in somebody else's portal."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from random import Random
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.utils import timezone

from apikeys.models import ApiKey
from audit.actors import Actor
from audit.models import AuditEntry
from groups.models import Group
from portal.accounts.models import Person
from portal.approvals.models import Request
from portal.decision import check
from portal.decision.services import update_organization
from portal.demo.sample.plan import PROJECTS
from portal.demo.sample.usage import Writer
from portal.organization.selectors import current
from portal.spend.models import LedgerRow, Limit, Price, Refusal
from portal.spend.selectors import calendar
from projects.models import Project
from projects.selectors import project_rows
from tokens.models import UserToken


def load() -> dict[str, Any]:
    """Load the sample."""
    out = StringIO()
    call_command("load_sample_data", "--json", stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def test_the_sample_is_complete_consistent_and_made_once(clean_state: None) -> None:
    first = load()
    assert first["new"]
    assert first["calls"] == LedgerRow.objects.count() > 10_000
    assert (Project.objects.count(), Group.objects.count()) == (14, 8)
    assert UserToken.objects.active().count() > 55

    # Limits of every kind on its own groups and projects; none on the organization or on each user everywhere.
    kinds = {limit.scope_key.split(":", 1)[0] for limit in Limit.objects.all()}
    assert kinds == {"g", "p", "pg", "pu", "c"}
    assert UserToken.objects.filter(suspended__isnull=False).exists()
    assert ApiKey.objects.filter(previous_until__gt=timezone.now()).exists()
    assert Request.objects.filter(state=Request.State.WAITING).count() == 1

    now = calendar(current().zone)
    rows = {row.code: row for row in project_rows(Project.objects.all(), now)}
    assert rows["fraud-notes"].standing == "blocked"
    assert rows["eng-sandbox"].standing == "paused"
    assert all(row.standing != "blocked" for code, row in rows.items() if code != "fraud-notes")
    assert LedgerRow.objects.filter(moment__gt=timezone.now()).count() == 0
    assert LedgerRow.objects.filter(price__isnull=True).count() == 0
    first_price = Price.objects.earliest("effective").effective
    assert first_price < LedgerRow.objects.earliest("moment").moment

    assert check.reconcile() == {"counters": [], "reserved": [], "roll_ups": []}
    assert Refusal.objects.aggregate(number=Sum("count"))["number"] > 200
    elena = Person.objects.get(name="Elena Marsh")
    assert [(grant.role, grant.source) for grant in elena.role_grants.all()] == [("admin", "entra")]
    assert all(person.tid and person.oid for person in Person.objects.all())

    entries = AuditEntry.objects.count()
    again = load()
    assert (again["new"], again["calls"]) == (False, 0)
    assert AuditEntry.objects.count() == entries


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_one_project_has_used_its_limit_up_whatever_the_date(hour: int) -> None:
    first = datetime(2026, 11, 1, hour, 31, tzinfo=UTC)
    for moment in (first + timedelta(days=number) for number in range(92)):
        writer = Writer(moment, "UTC", Random(4711), (), {})
        for plan in PROJECTS:
            spent = writer.amounts(plan)
            today = moment.date()
            month = sum(amount for day, amount in spent.items() if day.month == today.month)
            is_used_up = spent[today] >= plan.day_limit or month >= (plan.month_limit or 10**9)
            assert (moment, plan.code, is_used_up) == (moment, plan.code, plan.code == "fraud-notes")
            assert min(spent.values()) >= 0


def test_a_portal_that_belongs_to_somebody_is_left_alone(clean_state: None) -> None:
    update_organization(name="Somebody Ltd", actor=Actor.system())
    with pytest.raises(CommandError, match="belongs to Somebody Ltd"):
        load()
    assert not Project.objects.exists()

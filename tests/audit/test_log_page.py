"""The audit log as people read it: what is shown, to whom, narrowed how."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.actions import Action, Outcome
from audit.actors import Actor, Target
from audit.models import AuditEntry, AuditSeal
from audit.services import record, record_refused
from portal.accounts.actors import person_label
from portal.accounts.models import Person
from portal.decision.services import set_limit
from portal.spend import scopes
from projects.services import label_of, set_project_state, target_of
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]


def by(person: Person) -> Actor:
    """Return the person as an actor in a browser."""
    label = person_label(person)
    return Actor("user", str(person.pk), label, auth="entra", ip="10.8.1.33", request_id="request-of-mine")


def raise_limit(cast: Cast, amount: str, reason: str = "") -> AuditSeal:
    """Set the monthly limit of Claims triage as Alice and return the entry."""
    set_limit(
        scope_key=scopes.project(cast.triage.pk),
        label=label_of(cast.triage),
        metric="spend",
        window="month",
        amount=Decimal(amount),
        actor=by(cast.alice),
        group=cast.claims.pk,
        reason=reason,
        target=target_of(cast.triage),
    )
    return AuditSeal.objects.latest("seq")


def numbers(client: Client, query: str = "") -> list[int]:
    """Return the numbers of the entries that the page lists."""
    answer = client.get(f"/audit/{query}")
    assert answer.status_code == 200
    return [int(found) for found in re.findall(r'<tbody id="e(\d+)"', answer.content.decode())]


def test_the_newest_entry_comes_first_and_pages_follow_by_number(sealed: Cast, browse: Browse) -> None:
    for number in range(60):
        record(Action.SIGNED_IN, actor=by(sealed.bob), target=Target("person", str(number), "Bob"))
    alice, last = browse(sealed.alice), AuditSeal.objects.latest("seq").seq
    first = numbers(alice)
    assert first == list(range(last, last - 50, -1))
    older = numbers(alice, f"?before={first[-1]}")
    assert older == list(range(first[-1] - 1, 0, -1))
    assert numbers(alice, f"?after={older[0]}") == first
    assert numbers(alice, "?before=nonsense") == first
    page = alice.get("/audit/").content.decode()
    assert f"Sealed through entry {last}" in page
    assert "erified" not in page


def test_the_log_is_never_counted(sealed: Cast, browse: Browse) -> None:
    alice = browse(sealed.alice)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        numbers(alice, "?q=claims&period=7")
    of_log = [query["sql"] for query in queries if "audit_entry" in query["sql"]]
    assert len(of_log) <= 5
    assert not [sql for sql in of_log if "COUNT(" in sql.upper() or "OFFSET" in sql.upper()]


def test_an_opened_entry_shows_what_was_before_and_who_where_and_why(sealed: Cast, browse: Browse) -> None:
    raise_limit(sealed, "5500")
    seal = raise_limit(sealed, "6000.5", reason="Storm season, CHG-20418")
    page = browse(sealed.alice).get(f"/audit/?open={seal.seq}").content.decode()
    assert "Raised the limit on spend a month from $5,500 to $6,000.50" in page
    assert "<del>$5,500</del>" in page
    assert "<ins>$6,000.50</ins>" in page
    for shown in ("Storm season, CHG-20418", "Microsoft Entra ID", "10.8.1.33", "request-of-mine"):
        assert shown in page
    assert seal.hash in page
    assert seal.prev_hash in page
    closed = browse(sealed.alice).get("/audit/").content.decode()
    assert seal.hash not in closed


def test_htmx_opens_and_closes_one_entry_in_place(sealed: Cast, browse: Browse) -> None:
    seal, htmx = raise_limit(sealed, "10"), {"HX-Request": "true"}
    alice = browse(sealed.alice)
    part = alice.get(f"/audit/{seal.seq}/?open={seal.seq}", headers=htmx).content.decode()
    assert part.count("<tbody") == 2  # the entry, and the table of changes in it
    assert "<html" not in part
    assert 'tr class="detail"' in part
    assert 'class="detail"' not in alice.get(f"/audit/{seal.seq}/", headers=htmx).content.decode()
    answer = alice.get(f"/audit/{seal.seq}/")
    assert answer.status_code == 302
    assert answer["Location"] == f"/audit/?open={seal.seq}#e{seal.seq}"


def test_an_old_address_opens_the_page_that_holds_the_entry(sealed: Cast, browse: Browse) -> None:
    seal = raise_limit(sealed, "10")
    for number in range(60):
        record(Action.SIGNED_IN, actor=by(sealed.bob), target=Target("person", str(number), "Bob"))
    assert numbers(browse(sealed.alice), f"?open={seal.seq}")[0] == seal.seq


def test_filters_narrow_the_log(sealed: Cast, browse: Browse) -> None:
    alice = browse(sealed.alice)
    seal = raise_limit(sealed, "10")
    record_refused(
        Action.ACCESS_REFUSED,
        actor=by(sealed.dave),
        target=target_of(sealed.triage),
        reason="needs set_limits",
    )
    refused = seal.seq + 1
    everything = numbers(alice)
    assert numbers(alice, "?action=limit.created") == [seal.seq]
    assert numbers(alice, f"?actor={sealed.alice.pk}&target=project") == [seal.seq]
    assert numbers(alice, "?outcome=refused") == [refused]
    assert numbers(alice, f"?q={seal.seq}")[0] == seal.seq
    assert refused in numbers(alice, "?q=dave")
    assert seal.seq not in numbers(alice, "?q=dave")
    assert seal.seq in numbers(alice, f"?project={sealed.triage.pk}")
    assert seal.seq not in numbers(alice, f"?project={sealed.fraud.pk}")
    assert set(numbers(alice, "?target=group")) == {
        found.seq for found in AuditSeal.objects.filter(entry__target_type="group")
    }
    assert numbers(alice, "?action=unknown") == everything
    assert numbers(alice, "?q=nothing+of+the+kind") == []
    page = alice.get("/audit/?outcome=refused").content.decode()
    assert ">Refused</span>" in page
    assert "needs set_limits" in page


def test_a_period_is_of_the_organizations_days(sealed: Cast, browse: Browse) -> None:
    moment = datetime.now(UTC) - timedelta(days=10)
    record(Action.SIGNED_IN, actor=by(sealed.bob), target=Target("person", "1", "Bob"))
    entry = AuditEntry.objects.latest("id")
    entry.pk, entry.occurred = UUID(int=int(moment.timestamp() * 1000) << 80), moment
    entry.save(force_insert=True)
    old, alice = AuditSeal.objects.latest("seq").seq, browse(sealed.alice)
    assert old in numbers(alice)
    assert old not in numbers(alice, "?period=7")
    assert old in numbers(alice, "?period=30")
    day = moment.date().isoformat()
    assert numbers(alice, f"?period=dates&first={day}&last={day}") == [old]
    assert old not in numbers(alice, f"?period=dates&first={(moment + timedelta(days=1)).date()}")


def test_failures_carry_a_badge_and_their_reason(sealed: Cast, browse: Browse) -> None:
    record_refused(
        Action.PERSON_CREATED,
        actor=by(sealed.alice),
        target=Target("person", "9", "Jun Park"),
        reason="the directory did not answer",
        outcome=Outcome.FAILED,
    )
    page = browse(sealed.alice).get("/audit/?outcome=failed").content.decode()
    assert ">Failed</span>" in page
    assert "Tried: added the person Jun Park" in page
    assert "the directory did not answer" in page


@pytest.fixture
def lived(sealed: Cast) -> Cast:
    """Something done in each project and in the group, by people of each role."""
    raise_limit(sealed, "10")
    set_project_state(project=sealed.fraud, state="paused", actor=by(sealed.dave), reason="Holidays")
    record(Action.SIGNED_IN, actor=by(sealed.carol), target=Target("person", str(sealed.carol.pk), "Carol"))
    record(Action.GATEWAY_REVOKED, actor=by(sealed.alice), target=Target("gateway", "g", "gw-west"))
    return sealed


def seen_by(client: Client) -> set[int]:
    """Return the numbers of all entries that somebody may read, each of which also opens."""
    found = numbers(client)
    assert all(client.get(f"/audit/{number}/").status_code == 302 for number in found)
    return set(found)


def test_everybody_reads_what_is_theirs(lived: Cast, browse: Browse) -> None:
    everything = {seal.seq: seal.entry for seal in AuditSeal.objects.select_related("entry")}
    gina = factories.person("Gina Group", role="group_admin", group=lived.claims)
    triage = {seq for seq, entry in everything.items() if entry.project_id == lived.triage.pk}
    fraud = {seq for seq, entry in everything.items() if entry.project_id == lived.fraud.pk}
    group = {seq for seq, entry in everything.items() if entry.group_id == lived.claims.pk}

    def own(person: Person) -> set[int]:
        return {seq for seq, entry in everything.items() if entry.actor_id == str(person.pk)}

    assert triage
    assert fraud
    assert group - triage
    assert own(lived.carol)
    assert seen_by(browse(lived.alice)) == seen_by(browse(lived.erin)) == set(everything)
    assert seen_by(browse(gina)) == triage | group
    assert seen_by(browse(lived.bob)) == triage | own(lived.bob)
    assert seen_by(browse(lived.dave)) == fraud | own(lived.dave)
    assert seen_by(browse(lived.carol)) == own(lived.carol)


def test_what_is_not_theirs_is_not_found(lived: Cast, browse: Browse) -> None:
    gateway = AuditSeal.objects.latest("seq").seq
    for person in (lived.bob, lived.carol, lived.dave):
        client = browse(person)
        assert client.get(f"/audit/{gateway}/").status_code == 404
        assert gateway not in numbers(client, f"?open={gateway}")
        page = client.get("/audit/").content.decode()
        assert "gw-west" not in page
        assert "Alice Admin" not in page or person == lived.bob  # who set a limit of Bob's project

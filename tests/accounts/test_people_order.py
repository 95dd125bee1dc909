"""The list of people in the order of what they have and spend, whatever their number."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import Person
from portal.spend.models import PersonStanding
from projects.services import add_member, remove_member
from tests.factories import ACTOR, Cast, project, usage
from tokens.models import UserToken
from tokens.services import issue_token, revoke_token

Browse = Callable[[Person], Client]


def in_order(client: Client, sort: str) -> list[str]:
    """Return the names of the list of people in their order."""
    return [row.person.name for row in client.get("/accounts/people/", {"sort": sort}).context["page"].rows]


def test_people_are_sorted_by_what_stands_beside_them(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    project("second", owners=[cast.bob])
    for who, number in ((cast.carol, 3), (cast.bob, 1)):
        for index in range(number):
            issue_token(project=cast.triage, person=who, name=f"t{index}", actor=ACTOR)
    usage(cast.triage, "5", person=cast.dave, is_moved=True)
    usage(cast.triage, "2", person=cast.carol, is_moved=True)
    usage(cast.triage, "4", person=cast.carol, is_moved=True)
    usage(cast.triage, "900", person=cast.bob, moment=datetime.now(UTC) - timedelta(days=33), is_moved=True)
    assert in_order(alice, "-projects")[0] == "Bob Owner"
    assert in_order(alice, "-tokens")[:2] == ["Carol Member", "Bob Owner"]
    assert in_order(alice, "-month")[:2] == ["Carol Member", "Dave Outsider"]
    assert in_order(alice, "month")[-2:] == ["Dave Outsider", "Carol Member"]


def test_the_order_of_people_follows_every_change(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    add_member(project=cast.fraud, person=cast.carol, actor=ACTOR)
    assert in_order(alice, "-projects")[0] == "Carol Member"
    remove_member(project=cast.fraud, person=cast.carol, actor=ACTOR)
    add_member(project=cast.fraud, person=cast.bob, actor=ACTOR)
    assert in_order(alice, "-projects")[0] == "Bob Owner"
    tokens = [
        issue_token(project=cast.triage, person=cast.carol, name=f"t{n}", actor=ACTOR)[0] for n in range(3)
    ]
    issue_token(project=cast.triage, person=cast.bob, actor=ACTOR)
    issue_token(project=cast.triage, person=cast.bob, name="other", actor=ACTOR)
    assert in_order(alice, "-tokens")[:2] == ["Carol Member", "Bob Owner"]
    revoke_token(token=tokens[0], actor=ACTOR)
    UserToken.objects.filter(pk=tokens[2].pk).update(expires=datetime.now(UTC) - timedelta(seconds=1))
    assert in_order(alice, "-tokens")[:2] == ["Bob Owner", "Carol Member"]
    assert PersonStanding.objects.get(person=cast.carol).tokens == 1


def test_tokens_that_expired_since_are_counted_no_more(cast: Cast, browse: Browse) -> None:
    issue_token(project=cast.triage, person=cast.carol, actor=ACTOR)
    past = datetime.now(UTC) - timedelta(seconds=1)
    PersonStanding.objects.filter(person=cast.carol).update(tokens=2, ends=past)
    in_order(browse(cast.alice), "-tokens")
    standing = PersonStanding.objects.get(person=cast.carol)
    assert standing.tokens == 1
    assert standing.ends
    assert standing.ends > past


@pytest.mark.parametrize("sort", ["-projects", "-tokens", "-month"])
def test_people_cost_the_same_whatever_their_number(cast: Cast, browse: Browse, sort: str) -> None:
    alice = browse(cast.alice)
    alice.get("/accounts/people/")

    def cost() -> tuple[int, str]:
        with CaptureQueriesContext(connection) as queries:
            assert alice.get("/accounts/people/", {"sort": sort}).status_code == 200
        [listed] = [each["sql"] for each in queries if 'ORDER BY "person_standing"' in each["sql"]]
        return len(queries), listed

    def more(number: int) -> None:
        Person.objects.bulk_create(Person(name=f"P {n}", email=f"p{n}@example.com") for n in range(number))

    more(100)
    few, _ = cost()
    more(3000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_person; ANALYZE person_standing")
        many, listed = cost()
        cursor.execute(f"EXPLAIN {listed}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert many == few
    assert "person_standing_" in plan, f"{listed}\n{plan}"
    assert "Sort" not in plan, plan

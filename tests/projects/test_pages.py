"""Every page of projects, groups and credentials opens for those who may see it, and for nobody else."""

from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import Person
from portal.decision.services import set_limit
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]

# path, then the status for Alice, Bob, Carol, Dave, Erin
PAGES = [
    ("/projects/", 200, 200, 200, 200, 200),
    ("/projects/export/", 200, 200, 200, 200, 200),
    ("/projects/new/", 200, 403, 403, 403, 403),
    ("/projects/new/code/?name=A+b", 200, 403, 403, 403, 403),
    ("/projects/claims-triage/", 200, 200, 200, 404, 200),
    ("/projects/claims-triage/tokens/", 200, 200, 200, 404, 200),
    ("/projects/claims-triage/keys/", 200, 200, 200, 404, 200),
    ("/projects/claims-triage/members/", 200, 200, 200, 404, 200),
    ("/projects/claims-triage/members/add/", 200, 200, 403, 404, 403),
    ("/projects/claims-triage/groups/add/", 200, 200, 403, 404, 403),
    ("/projects/claims-triage/limits/", 200, 200, 200, 404, 200),
    ("/projects/claims-triage/activity/", 200, 200, 403, 404, 200),
    ("/projects/claims-triage/settings/", 200, 200, 403, 404, 403),
    ("/projects/claims-triage/state/paused/", 200, 200, 403, 404, 403),
    ("/projects/claims-triage/state/archived/", 200, 200, 403, 404, 403),
    ("/projects/nowhere/", 404, 404, 404, 404, 404),
    ("/groups/", 200, 403, 403, 403, 200),
    ("/groups/new/", 200, 403, 403, 403, 403),
    ("/groups/claims/", 200, 403, 403, 403, 200),
    ("/groups/claims/delete/", 200, 403, 403, 403, 403),
    ("/groups/nowhere/", 404, 403, 403, 403, 404),
    ("/tokens/", 200, 200, 200, 200, 200),
    ("/tokens/export/", 200, 200, 200, 200, 200),
    ("/tokens/issue/", 200, 200, 200, 200, 403),
    ("/tokens/issue/?project=claims-triage", 200, 200, 200, 404, 403),
    ("/keys/", 200, 200, 200, 200, 200),
    ("/keys/export/", 200, 200, 200, 200, 200),
    ("/keys/issue/?project=claims-triage", 200, 200, 403, 404, 403),
]


@pytest.mark.parametrize(("path", "statuses"), [(row[0], row[1:]) for row in PAGES])
def test_a_page_opens_for_those_who_may_see_it(
    path: str, statuses: tuple[int, ...], cast: Cast, browse: Browse
) -> None:
    factories.usage(cast.triage, "12.50", person=cast.carol)
    people = (cast.alice, cast.bob, cast.carol, cast.dave, cast.erin)
    for who, status in zip(people, statuses, strict=True):
        for headers in ({}, {"HX-Request": "true"}):
            answer = browse(who).get(path, headers=headers)
            assert answer.status_code == status, f"{who} {headers}"
            if status == 200:
                assert answer["Cache-Control"] == "no-store"


def test_activity_is_filtered_and_exported(cast: Cast, browse: Browse) -> None:
    bob = browse(cast.bob)
    bob.post("/projects/claims-triage/state/paused/", {"reason": "leak found"})
    shown = bob.get("/projects/claims-triage/activity/?q=leak").context
    assert [told.what for told in shown["entries"]] == ["Paused Claims triage"]
    assert shown["count"] == "1 entry"
    assert bob.get("/projects/claims-triage/activity/?about=member").context["count"] == "2 entries"
    assert bob.get("/projects/claims-triage/activity/?last=2020-01-01").context["count"] == "0 entries"
    answer = bob.get("/projects/claims-triage/activity/export/?q=leak")
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2
    assert "state: active → paused" in lines[1]
    assert browse(cast.carol).get("/projects/claims-triage/activity/export/").status_code == 403


def test_members_are_shown_and_exported_with_what_they_spend(cast: Cast, browse: Browse) -> None:
    for key, amount in ((f"pu:{cast.triage.pk}:*", 5), (f"pu:{cast.triage.pk}:{cast.carol.pk}", 9)):
        set_limit(
            scope_key=key, label="x", metric="spend", window="day", amount=amount, actor=factories.ACTOR
        )
    factories.usage(cast.triage, "4.5", person=cast.carol)
    rows = browse(cast.bob).get("/projects/claims-triage/members/").context["page"].rows
    told = [(str(row.membership.person), row.used.today, row.day_limit, row.is_named) for row in rows]
    assert told == [
        ("Bob Owner", 0, 5 * 10**9, False),
        ("Carol Member", 4_500_000_000, 9 * 10**9, True),
    ]
    assert "$4.50" not in browse(cast.carol).get("/projects/claims-triage/members/").content.decode()
    answer = browse(cast.bob).get("/projects/claims-triage/members/export/")
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()  # type: ignore[attr-defined]
    assert lines[2].startswith("Carol Member,carol@northgate.example,member,")
    assert lines[2].endswith(",4.5,4.5,9,,0")

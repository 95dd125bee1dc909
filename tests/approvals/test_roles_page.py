"""Settings → Roles shows the table in force, sets what needs a second person, and the access review goes on there."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client, override_settings

from portal.accounts.models import Person, RoleGrant
from portal.accounts.policy import STEP_UP, TOXIC, Reach, Role, matrix
from portal.accounts.step_up import Guarded
from portal.approvals.models import ApprovalPolicy
from portal.approvals.views.roles import REACH, words
from tests.factories import Cast, person, signed_in
from tests.guards.addresses import addresses

Browse = Callable[[Person], Client]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/roles.md"
PAGE = "/settings/roles/"
REVIEW = f"{PAGE}review/"
UNGUARDED = {"projects:export_template": "An example of the file to import; it holds no records."}


def table() -> list[list[str]]:
    """Return the table in force, as the document and the page have it."""
    return [
        [words(right), *(REACH[row[role]] or ("–" if row[role] is Reach.NONE else "") for role in Role)]
        for right, row in matrix()
    ]


def test_the_document_is_the_table_in_force() -> None:
    text = DOCUMENT.read_text()
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line] for line in lines]
    assert [row for row in rows if len(row) == len(Role) + 1][2:] == table()
    assert ["Right", *(role.label for role in Role)] in rows
    for pair in TOXIC:
        first, second = sorted(role.label for role in pair)
        assert f"- {first} and {second}" in text
    for address, kind in STEP_UP.items():
        assert re.search(rf"^\| `{address}` \| {re.escape(Guarded(kind).label)} \|$", text, re.MULTILINE)


def test_the_page_shows_every_right(cast: Cast, browse: Browse) -> None:
    page = browse(cast.erin).get(PAGE).content.decode()
    for row in table():
        assert row[0] in page
    assert "Change</a>" not in page
    assert browse(cast.bob).get(PAGE).status_code == 403


@pytest.mark.parametrize(
    ("allowed", "words"),
    [(False, "are refused at sign-in"), (True, "may sign in, to what projects give them")],
)
def test_the_page_says_whether_guests_come_in_and_where_that_is_set(
    cast: Cast, browse: Browse, allowed: bool, words: str
) -> None:
    with override_settings(ENTRA_ALLOW_GUESTS=allowed):
        page = browse(cast.erin).get(PAGE).content.decode()
    assert words in page
    assert f"set <code>ENTRA_ALLOW_GUESTS</code> to <code>{0 if allowed else 1}</code>" in page


def test_every_guarded_address_is_there() -> None:
    assert set(STEP_UP) <= set(addresses())


def test_no_address_that_issues_exports_or_approves_is_forgotten() -> None:
    named = {name for name in addresses() if re.search("export|rotate|issue|register|approve", name)}
    assert named - set(STEP_UP) == set(UNGUARDED)


def test_an_export_asks_again_and_then_downloads(cast: Cast, browse: Browse) -> None:
    for page in ("/projects/export/", "/accounts/people/export/", "/limits/export/"):
        answer = signed_in(cast.alice, has_confirmed=False).get(page)
        assert answer["Location"].startswith("/accounts/confirm/?kind=export")
        assert browse(cast.alice).get(page)["Content-Type"].startswith("text/csv")


def test_an_old_sign_in_is_asked_again_and_a_stranger_is_not(cast: Cast) -> None:
    alice, bob = (signed_in(who, has_confirmed=False) for who in (cast.alice, cast.bob))
    answer = alice.post(f"{PAGE}second-person/", {"overcommit": "refuse", "seen": "0"})
    assert answer["Location"].startswith("/accounts/confirm/?kind=access")
    assert not ApprovalPolicy.objects.exists()
    assert bob.post(f"{PAGE}second-person/").status_code == 403
    assert alice.get(PAGE).status_code == 200


def test_of_two_who_change_the_policy_the_later_sees_both_values(cast: Cast, browse: Browse) -> None:
    alice, other = browse(cast.alice), browse(person("Arno Other", role="admin"))
    data = {"overcommit": "warn", "seen": "0", "reason": "agreed"}
    assert alice.post(f"{PAGE}second-person/", {**data, "roles": "on", "most_raise": "50"}).status_code == 302
    answer = other.post(f"{PAGE}second-person/", {**data, "prices": "on"})
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "Somebody else changed this" in text
    assert "It is now: 50." in text
    policy = ApprovalPolicy.objects.get()
    assert (policy.roles, policy.prices, policy.most_raise) == (True, False, 50)
    again = answer.context["form"]["seen"].value()
    assert other.post(f"{PAGE}second-person/", {**data, "prices": "on", "seen": again}).status_code == 302
    policy.refresh_from_db()
    assert (policy.roles, policy.prices, policy.most_raise) == (False, True, None)


def test_a_review_is_started_confirmed_and_exported(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    assert alice.post(f"{REVIEW}start/", {"reason": "fourth quarter"}).status_code == 302
    assert "2 roles not confirmed yet" in alice.get(REVIEW).content.decode()
    erins = RoleGrant.objects.get(person=cast.erin)
    assert alice.post(f"{REVIEW}{erins.pk}/confirm/").status_code == 302
    assert "1 role not confirmed yet" in alice.get(REVIEW).content.decode()
    hers = RoleGrant.objects.get(person=cast.alice)
    assert alice.post(f"{REVIEW}{hers.pk}/confirm/").status_code == 422
    text = b"".join(browse(cast.erin).get(f"{REVIEW}export/").streaming_content).decode()  # type: ignore[attr-defined]
    assert re.search(r"Erin Auditor,.*,role,auditor,.*,portal,Elena Marsh,.*,Alice Admin", text)
    assert re.search(r"Bob Owner,.*,project,owner,claims-triage,", text)

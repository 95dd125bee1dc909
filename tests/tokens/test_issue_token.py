"""Issue and revoke user tokens."""

import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client

from audit.models import AuditEntry
from portal.accounts.models import Person, Session
from portal.decision.models import Subject
from portal.lib import secrets
from tests import factories
from tests.factories import Cast
from tokens.models import UserToken
from tokens.services import issue_token

Browse = Callable[[Person], Client]
ISSUE = "/tokens/issue/?project=claims-triage"


def secret_in(page: str) -> str:
    """Return the one secret that a page shows."""
    found = secrets.PATTERNS["user_token"].findall(page)
    assert len(found) == 1
    return str(found[0])


def test_an_owner_issues_a_token_whose_secret_is_shown_this_once(cast: Cast, browse: Browse) -> None:
    bob = browse(cast.bob)
    answer = bob.post(ISSUE, {"person": cast.carol.pk, "name": "laptop", "days": "30"})
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    secret = secret_in(answer.content.decode())
    token = UserToken.objects.get()
    assert (token.person, token.name, token.project) == (cast.carol, "laptop", cast.triage)
    assert Subject.objects.get(pk=f"s:{token.key_id}").data["state"] == "active"
    for path in (
        "/tokens/",
        "/projects/claims-triage/tokens/",
        "/tokens/export/",
        "/projects/claims-triage/activity/",
    ):
        later = bob.get(path)
        body = b"".join(later.streaming_content) if later.streaming else later.content  # type: ignore[attr-defined]
        assert secret not in body.decode(), path
    assert secret not in str([session.get_decoded() for session in Session.objects.all()])
    assert secret not in str(dict(bob.session))
    assert secret not in str(list(AuditEntry.objects.values()))
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, data::text FROM decision_subject")
        assert secret not in str(cursor.fetchall())


def test_over_the_page_the_list_behind_loads_anew(cast: Cast, browse: Browse) -> None:
    data = {"person": cast.carol.pk, "days": "30"}
    answer = browse(cast.bob).post(ISSUE, data, headers={"HX-Request": "true"})
    assert answer["HX-Retarget"] == "#dialogs"
    assert "token-table" in answer["HX-Trigger"]
    assert secret_in(answer.content.decode()) not in str(answer.headers)


def test_a_member_issues_to_themselves_alone(cast: Cast, browse: Browse) -> None:
    carol = browse(cast.carol)
    assert carol.post(ISSUE, {"person": cast.bob.pk, "days": "30"}).status_code == 422
    assert carol.post(ISSUE, {"person": cast.carol.pk, "days": "30"}).status_code == 200
    assert UserToken.objects.get().person == cast.carol


@pytest.mark.parametrize("days", ["0", "366", "", "soon"])
def test_a_life_beyond_the_policy_is_refused(days: str, cast: Cast, browse: Browse) -> None:
    assert browse(cast.bob).post(ISSUE, {"person": cast.carol.pk, "days": days}).status_code == 422
    assert not UserToken.objects.exists()


def test_somebody_who_does_not_belong_to_the_project_gets_none(cast: Cast, browse: Browse) -> None:
    assert browse(cast.alice).post(ISSUE, {"person": cast.dave.pk, "days": "30"}).status_code == 422
    assert browse(cast.dave).post(ISSUE, {"person": cast.dave.pk, "days": "30"}).status_code == 404
    assert browse(cast.erin).post(ISSUE, {"person": cast.carol.pk, "days": "30"}).status_code == 403
    assert not UserToken.objects.exists()


def test_the_first_step_offers_the_projects_in_which_one_may_issue(cast: Cast, browse: Browse) -> None:
    page = browse(cast.dave).get("/tokens/issue/").content.decode()
    assert re.findall(r'<option value="([a-z-]+)"', page) == ["fraud-notes"]


def test_a_token_is_revoked_by_an_owner_and_by_its_holder(cast: Cast, browse: Browse) -> None:
    for who in (cast.bob, cast.carol):
        token, _ = issue_token(project=cast.triage, person=cast.carol, actor=factories.ACTOR)
        path = f"/tokens/{token.key_id}/revoke/"
        assert "cannot be undone" in browse(who).get(path).content.decode()
        assert browse(who).post(path, {"reason": "lost"}).status_code == 302
        token.refresh_from_db()
        assert token.revoked
        assert Subject.objects.get(pk=f"s:{token.key_id}").data["state"] == "revoked"


def test_nobody_else_revokes_it(cast: Cast, browse: Browse) -> None:
    token, _ = issue_token(project=cast.triage, person=cast.bob, actor=factories.ACTOR)
    path = f"/tokens/{token.key_id}/revoke/"
    for who, status in ((cast.carol, 404), (cast.dave, 404), (cast.erin, 403)):
        assert browse(who).post(path).status_code == status
    token.refresh_from_db()
    assert not token.revoked


def test_members_see_their_own_tokens_and_owners_all_of_the_project(cast: Cast, browse: Browse) -> None:
    for person in (cast.bob, cast.carol):
        issue_token(project=cast.triage, person=person, actor=factories.ACTOR)
    issue_token(project=cast.fraud, person=cast.dave, actor=factories.ACTOR)

    def holders(who: Person, path: str) -> set[str]:
        return {row.token.person.name for row in browse(who).get(path).context["page"].rows}

    assert holders(cast.carol, "/tokens/") == {"Carol Member"}
    assert holders(cast.carol, "/projects/claims-triage/tokens/") == {"Carol Member"}
    assert holders(cast.bob, "/tokens/") == {"Bob Owner", "Carol Member"}
    assert holders(cast.erin, "/tokens/") == {"Bob Owner", "Carol Member", "Dave Outsider"}


def test_the_list_is_filtered_and_shows_the_spend_of_each_token(cast: Cast, browse: Browse) -> None:
    token, _ = issue_token(project=cast.triage, person=cast.carol, days=5, actor=factories.ACTOR)
    factories.usage(cast.triage, "2.5", person=cast.carol, credential=token.key_id)
    bob = browse(cast.bob)

    def shown(query: str) -> int:
        return len(bob.get(f"/tokens/?{query}").context["page"].rows)

    assert bob.get("/tokens/").context["page"].rows[0].month == 2_500_000_000
    assert [shown(f"status={each}") for each in ("active", "expiring", "expired", "revoked")] == [1, 1, 0, 0]
    assert [shown("q=carol"), shown(f"q={token.hint[-4:]}"), shown("q=nobody")] == [1, 1, 0]

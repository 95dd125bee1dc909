"""Forms and filters that name a thing: what is not for the person is answered as what does not exist."""

from typing import Any

import pytest

from apikeys.services import issue_api_key
from audit.models import AuditEntry
from portal.decision.services import set_limit
from portal.lib.uuid7 import uuid7
from portal.spend import scopes
from portal.spend.models import Limit
from projects.services import create_project, label_of
from tests.factories import ACTOR, Cast, person, priced, signed_in, usage
from tokens.models import UserToken
from tokens.services import issue_token

SECRET_NAME = "Fraud notes"


@pytest.fixture
def theirs(cast: Cast) -> UserToken:
    """Dave's token in his project, which has a limit, a key, and a call of his."""
    token, _ = issue_token(project=cast.fraud, person=cast.dave, name="Dave’s laptop", actor=ACTOR)
    issue_api_key(project=cast.fraud, name="nightly", actor=ACTOR)
    named: dict[str, Any] = {"metric": "spend", "window": "day", "amount": 5, "actor": ACTOR}
    set_limit(scope_key=scopes.project(cast.fraud.pk), label=label_of(cast.fraud), **named)
    priced()
    usage(cast.fraud, "0.5", person=cast.dave, credential=token.key_id, request_id="dave-1")
    return token


def limit_form(**fields: Any) -> dict[str, Any]:
    """Return a complete form of a limit."""
    return {"kind": "p", "measure": "spend|day", "amount": "1", "mode": "enforce", **fields}


def test_a_limit_is_set_on_nothing_of_somebody_else(cast: Cast, theirs: UserToken) -> None:
    bob, before = signed_in(cast.bob), list(Limit.objects.values_list("pk", "amount"))
    for fields in (
        {"project": cast.fraud.code},
        {"project": cast.triage.code, "credential": theirs.key_id, "kind": "c"},
        {"credential": theirs.key_id, "kind": "c"},
        {"kind": "u", "user": cast.dave.email},
        {"kind": "g", "group": cast.claims.code},
        {"kind": "o"},
        {"kind": "pu", "project": cast.fraud.code, "user": cast.dave.email},
        {"kind": "pu:*", "project": str(cast.fraud.pk)},
    ):
        answer = bob.post("/limits/new/", limit_form(**fields))
        assert answer.status_code in (403, 404, 422), fields
        assert SECRET_NAME not in answer.content.decode()
        preview = bob.post("/limits/preview/", limit_form(**fields))
        assert SECRET_NAME not in preview.content.decode(), fields
    [(pk, _)] = before
    for address in (f"/limits/{pk}/", f"/limits/{pk}/remove/", f"/alerts/limits/{pk}/"):
        assert bob.get(address).status_code in (403, 404)
        assert bob.post(address, {"amount": "9"}).status_code in (403, 404, 405)
    assert list(Limit.objects.values_list("pk", "amount")) == before


def test_a_raise_is_asked_for_no_limit_of_another_project(cast: Cast, theirs: UserToken) -> None:
    limit = Limit.objects.get()
    wanted = {"limit": limit.pk, "amount": "250", "reason": "more", "seen": ""}
    answer = signed_in(cast.bob).post(f"/projects/{cast.triage.code}/limits/raise/", wanted)
    assert answer.status_code == 404
    assert SECRET_NAME not in answer.content.decode()


def test_a_bulk_change_leaves_projects_of_others_out(cast: Cast, theirs: UserToken) -> None:
    bob = signed_in(cast.bob)
    both = f"?do=pause&p={cast.triage.code}&p={cast.fraud.code}"
    page = bob.get(f"/projects/bulk/{both}")
    assert page.status_code == 200
    assert SECRET_NAME not in page.content.decode()
    plan = page.context["plan"]
    stolen = signed_in(cast.dave).post("/projects/bulk/", {"plan": plan})
    assert stolen.status_code == 403, "a preview is for who has seen it"
    assert bob.post("/projects/bulk/", {"plan": plan}).status_code == 302
    for project, state in ((cast.triage, "paused"), (cast.fraud, "active")):
        project.refresh_from_db()
        assert project.state == state


def test_credentials_of_others_are_not_revoked_in_a_selection(cast: Cast, theirs: UserToken) -> None:
    bob = signed_in(cast.bob)
    own, _ = issue_token(project=cast.triage, person=cast.carol, name="Own", actor=ACTOR)
    key = cast.fraud.api_keys.get()
    for address, ids in (("/tokens/revoke/", [own.key_id, theirs.key_id]), ("/keys/revoke/", [key.key_id])):
        page = bob.get(address, {"id": ids})
        assert "Dave" not in page.content.decode()
        bob.post(address, {"id": ids, "confirm": "revoke", "reason": "x"})
    theirs.refresh_from_db()
    key.refresh_from_db()
    assert (theirs.revoked, key.revoked) == (None, None)


@pytest.mark.parametrize(
    "address",
    [
        "/audit/?project={project}",
        "/audit/?actor={dave}",
        "/audit/?q=Fraud",
        "/refusals/?project={project}",
        "/refusals/explain/?credential={token}&model=gpt-5-mini",
        "/calls/?q=dave-1&gateway=gateway00000",
        "/tokens/?project={code}&person={dave}",
        "/keys/?project={code}",
        "/projects/?owner=Dave&q=fraud",
        "/usage/export/?project={project}",
        "/projects/export/?q=fraud",
        "/tokens/export/?q=Dave",
        "/requests/mine/?q=Fraud",
        "/alerts/?q=Fraud",
    ],
)
def test_no_filter_and_no_export_shows_what_is_of_others(cast: Cast, theirs: UserToken, address: str) -> None:
    url = address.format(project=cast.fraud.pk, code=cast.fraud.code, dave=cast.dave.pk, token=theirs.key_id)
    for who in (cast.bob, cast.carol):
        answer = signed_in(who).get(url)
        text = answer.getvalue() if answer.streaming else answer.content
        assert answer.status_code in (200, 302, 403, 404, 422), url
        for word in (SECRET_NAME, "fraud-notes", "Dave’s laptop", "Dave Outsider"):
            assert word in url or word not in text.decode(), (who.name, url, word)


def test_more_fields_than_a_form_has_change_nothing(cast: Cast) -> None:
    """Whatever a form is sent beside its own fields: nobody gains a right, nothing changes hands."""
    group_admin = person("Grace Claims", role="group_admin", group=cast.claims)
    more = {
        "is_superuser": "1", "is_staff": "1", "is_active": "0", "role": "admin", "roles": "admin",
        "tid": "0", "oid": str(uuid7()), "id": "1", "pk": "1", "key_id": "000000000000", "digest": "00",
        "revoked": "", "created_by": "Somebody", "session_epoch": "9", "organization": "1", "state": "archived",
        "project_id": cast.fraud.pk, "group_id": "", "person_id": cast.dave.pk, "requester": cast.dave.pk,
        "approved": "1", "decided_by": cast.dave.pk, "version": "99", "source": "entra", "granted_by": "x",
        "group": cast.claims.pk,
    }  # fmt: skip
    for who in (cast.bob, group_admin):
        browser = signed_in(who)
        triage = f"/projects/{cast.triage.code}"
        seen = browser.get(f"{triage}/settings/").context["form"]["seen"].value()
        assert browser.post(f"{triage}/settings/", {**more, "name": who.name, "seen": seen}).status_code in (
            302,
            422,
        )
        issue = {**more, "person": cast.carol.pk, "name": f"for {who.name}", "days": "30"}
        assert browser.post(f"/tokens/issue/?project={cast.triage.code}", issue).status_code == 200
        issue = {**more, "owner": cast.bob.pk, "name": f"key of {who.name}", "days": "30"}
        assert browser.post(f"/keys/issue/?project={cast.triage.code}", issue).status_code == 200
        browser.post("/me/", more)
    for token in [*cast.triage.tokens.all(), *cast.triage.api_keys.all()]:
        assert token.project_id == cast.triage.pk
        assert token.key_id != "000000000000"
        assert token.created_by != "Somebody"
        assert token.revoked is None
    assert cast.triage.tokens.count() == cast.triage.api_keys.count() == 2
    assert not cast.fraud.tokens.exists()
    for someone in (cast.bob, cast.carol, cast.dave, group_admin):
        before = (someone.tid, someone.oid, someone.is_active, someone.session_epoch)
        someone.refresh_from_db()
        assert (someone.tid, someone.oid, someone.is_active, someone.session_epoch) == before
    assert not cast.bob.role_grants.exists()
    cast.triage.refresh_from_db()
    assert cast.triage.state == "active"
    assert not AuditEntry.objects.filter(action="role.granted", actor_id=str(cast.bob.pk)).exists()
    assert create_project(code="after", name="After", actor=ACTOR).pk

"""Create and revoke API keys."""

from collections.abc import Callable

from django.test import Client

from apikeys.models import ApiKey
from apikeys.services import issue_api_key
from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision.models import Subject
from portal.lib import secrets
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]
ISSUE = "/keys/issue/?project=claims-triage"


def test_an_owner_creates_a_key_whose_secret_is_shown_this_once(cast: Cast, browse: Browse) -> None:
    bob = browse(cast.bob)
    answer = bob.post(ISSUE, {"name": "intake-batch", "owner": cast.carol.pk, "days": "30"})
    (secret,) = secrets.PATTERNS["api_key"].findall(answer.content.decode())
    assert answer["Cache-Control"] == "no-store"
    key = ApiKey.objects.get()
    assert (key.name, key.owner) == ("intake-batch", cast.carol)
    assert Subject.objects.get(pk=f"s:{key.key_id}").data["kind"] == "api_key"
    for path in ("/keys/", "/projects/claims-triage/keys/"):
        assert secret not in bob.get(path).content.decode()
    assert secret not in str(list(AuditEntry.objects.values()))
    assert secret not in str(dict(bob.session))


def test_a_name_in_use_is_refused_and_the_owner_must_belong_to_the_project(
    cast: Cast, browse: Browse
) -> None:
    issue_api_key(project=cast.triage, name="intake-batch", actor=factories.ACTOR)
    bob = browse(cast.bob)
    assert bob.post(ISSUE, {"name": "intake-batch", "days": "30"}).status_code == 422
    assert bob.post(ISSUE, {"name": "other", "owner": cast.dave.pk, "days": "30"}).status_code == 422
    assert ApiKey.objects.count() == 1


def test_members_create_and_revoke_none(cast: Cast, browse: Browse) -> None:
    key, _ = issue_api_key(project=cast.triage, name="intake-batch", actor=factories.ACTOR)
    for who, status in ((cast.carol, 403), (cast.dave, 404), (cast.erin, 403)):
        assert browse(who).post(ISSUE, {"name": "x", "days": "30"}).status_code == status
        assert browse(who).post(f"/keys/{key.key_id}/revoke/").status_code == status
    key.refresh_from_db()
    assert not key.revoked


def test_an_owner_revokes_a_key(cast: Cast, browse: Browse) -> None:
    key, _ = issue_api_key(project=cast.triage, name="intake-batch", actor=factories.ACTOR)
    answer = browse(cast.bob).post(f"/keys/{key.key_id}/revoke/", headers={"HX-Request": "true"})
    assert "key-table" in answer["HX-Trigger"]
    key.refresh_from_db()
    assert key.revoked
    assert Subject.objects.get(pk=f"s:{key.key_id}").data["state"] == "revoked"


def test_the_list_shows_the_keys_of_ones_projects(cast: Cast, browse: Browse) -> None:
    issue_api_key(project=cast.triage, name="intake-batch", actor=factories.ACTOR)
    issue_api_key(project=cast.fraud, name="notes", actor=factories.ACTOR)

    def shown(who: Person) -> set[str]:
        return {row.key.name for row in browse(who).get("/keys/").context["page"].rows}

    assert shown(cast.alice) == {"intake-batch", "notes"}
    assert shown(cast.bob) == shown(cast.carol) == {"intake-batch"}
    assert shown(cast.dave) == {"notes"}

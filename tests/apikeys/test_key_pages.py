"""The page of an API key, and what is done from it."""

import re
from collections.abc import Callable
from datetime import timedelta

from django.test import Client
from django.utils import timezone

from apikeys.models import ApiKey
from apikeys.rotation import rotate_api_key
from apikeys.services import issue_api_key, update_api_key
from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision.models import Subject
from portal.lib import secrets
from portal.spend.models import Limit
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]


def key_in(cast: Cast, name: str = "intake-batch") -> ApiKey:
    """Return a new key of Claims triage."""
    return issue_api_key(project=cast.triage, name=name, owner=cast.bob, actor=factories.ACTOR)[0]


def facts(key: ApiKey) -> dict[str, object]:
    """Return what the decision knows of the key."""
    found: dict[str, object] = Subject.objects.get(pk=f"s:{key.key_id}").data
    return found


def test_the_new_secret_is_in_the_answer_to_the_rotation_alone(cast: Cast, browse: Browse) -> None:
    key, bob = key_in(cast), browse(cast.bob)
    answer = bob.post(f"/keys/{key.key_id}/rotate/", {"overlap": "24", "days": "", "reason": "quarterly"})
    (secret,) = secrets.PATTERNS["api_key"].findall(answer.content.decode())
    assert answer["Cache-Control"] == "no-store"
    for path in (
        "/keys/",
        f"/keys/{key.key_id}/",
        f"/keys/{key.key_id}/rotate/",
        "/projects/claims-triage/keys/",
    ):
        assert secret not in bob.get(path).content.decode(), path
    assert secret not in str(list(AuditEntry.objects.values()))
    assert secret not in str(dict(bob.session))
    page = bob.get(f"/keys/{key.key_id}/").content.decode()
    before, now = key.last_four, ApiKey.objects.get().last_four
    assert before != now
    assert before in page
    assert now in page
    assert "End overlap now" in page
    assert "secret: another<" in browse(cast.alice).get(f"/keys/{key.key_id}/").content.decode()


def test_a_second_rotation_says_to_end_the_first(cast: Cast, browse: Browse) -> None:
    key, bob = key_in(cast), browse(cast.bob)
    path, data = f"/keys/{key.key_id}/rotate/", {"overlap": "168"}
    assert bob.post(path, data).status_code == 200
    again = bob.post(path, data)
    assert again.status_code == 422
    assert "End that overlap first" in again.content.decode()
    assert bob.post(f"/keys/{key.key_id}/overlap/end/", {"reason": ""}).status_code == 302
    assert bob.post(path, data).status_code == 200


def test_what_a_key_may_do_is_changed_and_published(cast: Cast, browse: Browse) -> None:
    factories.priced("gpt-5-mini")
    key, bob = key_in(cast), browse(cast.bob)
    data = {
        "name": "intake",
        "owner": cast.bob.pk,
        "deputy": cast.carol.pk,
        "allowed_models": "gpt-5-mini",
        "networks": "10.20.0.0/16\n203.0.113.7",
        "names_users": "on",
    }
    assert bob.post(f"/keys/{key.key_id}/edit/", data).status_code == 302
    key.refresh_from_db()
    assert (key.name, key.deputy, key.networks) == ("intake", cast.carol, ["10.20.0.0/16", "203.0.113.7"])
    assert facts(key)["models"] == ["gpt-5-mini"]
    assert [len(block) for block in facts(key)["networks"]] == [112, 128]  # type: ignore[attr-defined]
    named = Subject.objects.get(pk=f"n:{cast.triage.pk}").data["users"]
    assert named == {
        "bob@northgate.example": [cast.bob.pk, "Bob Owner"],
        "carol@northgate.example": [cast.carol.pk, "Carol Member"],
    }


def test_addresses_that_make_no_sense_are_told(cast: Cast, browse: Browse) -> None:
    key, bob = key_in(cast), browse(cast.bob)
    for wrong in ("10.0.0.1/8", "everywhere", "0.0.0.0/0"):
        data = {"name": "intake", "owner": cast.bob.pk, "networks": wrong}
        answer = bob.post(f"/keys/{key.key_id}/edit/", data)
        assert answer.status_code == 422
        assert wrong in answer.content.decode()
    key.refresh_from_db()
    assert key.networks is None


def test_of_two_who_edit_the_later_sees_both_values(cast: Cast, browse: Browse) -> None:
    key, bob = key_in(cast), browse(cast.bob)
    page = bob.get(f"/keys/{key.key_id}/edit/").content.decode()
    (seen,) = re.findall(r'name="seen" value="([^"]+)"', page)
    update_api_key(key=key, name="somebody-elses", actor=factories.ACTOR)
    answer = bob.post(f"/keys/{key.key_id}/edit/", {"name": "mine", "owner": cast.bob.pk, "seen": seen})
    assert answer.status_code == 422
    assert "somebody-elses" in answer.content.decode()
    assert 'value="mine"' in answer.content.decode()


def test_a_key_is_suspended_and_resumed_on_its_page(cast: Cast, browse: Browse) -> None:
    key, bob = key_in(cast), browse(cast.bob)
    assert bob.post(f"/keys/{key.key_id}/suspend/", {"reason": "Incident 12"}).status_code == 302
    assert facts(key)["state"] == "suspended"
    assert "Incident 12" in bob.get(f"/keys/{key.key_id}/").content.decode()
    assert bob.post(f"/keys/{key.key_id}/resume/").status_code == 302
    assert facts(key)["state"] == "active"


def test_an_owner_sets_the_limits_of_a_key(cast: Cast, browse: Browse) -> None:
    key, bob = key_in(cast), browse(cast.bob)
    path = f"/keys/{key.key_id}/limits/"
    assert "from widest to narrowest" in bob.get(path).content.decode()
    assert bob.post(path, {"monthly": "250", "requests": "60"}).status_code == 302
    found = Limit.objects.filter(scope_key=f"c:{key.key_id}").values_list("metric", "window", "amount")
    assert set(found) == {("spend", "month", 250 * 10**9), ("requests", "minute", 60)}


def test_only_an_administrator_lets_a_key_never_expire(cast: Cast, browse: Browse) -> None:
    path, data = "/keys/issue/?project=claims-triage", {"never_expires": "on", "days": "30"}
    assert browse(cast.bob).post(path, data | {"name": "a", "owner": cast.bob.pk}).status_code == 200
    assert ApiKey.objects.get(name="a").expires
    assert (
        browse(cast.alice).post(path, {"never_expires": "on", "name": "b", "owner": cast.bob.pk}).status_code
        == 200
    )
    assert ApiKey.objects.get(name="b").expires is None


def test_several_keys_are_revoked_and_those_of_others_left_out(cast: Cast, browse: Browse) -> None:
    mine, used = key_in(cast, "one"), key_in(cast, "two")
    ApiKey.objects.filter(pk=used.pk).update(last_used=timezone.now() - timedelta(minutes=5))
    other, _ = issue_api_key(project=cast.fraud, name="notes", actor=factories.ACTOR)
    ids, bob = [mine.key_id, used.key_id, other.key_id], browse(cast.bob)
    asked = bob.get("/keys/revoke/", {"id": ids}).content.decode()
    assert "Revoke 2 API keys?" in asked
    assert "1 is in use" in asked
    assert bob.post("/keys/revoke/", {"id": ids, "reason": "cleaning up"}).status_code == 302
    assert set(ApiKey.objects.filter(revoked=None).values_list("name", flat=True)) == {"notes"}


def test_the_list_filters_what_rotates_is_old_or_is_not_used(cast: Cast, browse: Browse) -> None:
    rotating, old = key_in(cast, "rotating"), key_in(cast, "old")
    key_in(cast, "new")
    rotate_api_key(key=rotating, actor=factories.ACTOR)
    ApiKey.objects.filter(pk=old.pk).update(created=timezone.now() - timedelta(days=100))
    bob = browse(cast.bob)

    def shown(query: str) -> list[str]:
        return sorted(row.key.name for row in bob.get(f"/keys/?{query}").context["page"].rows)

    assert shown("status=rotating") == ["rotating"]
    assert shown("status=old") == shown("status=unused") == ["old"]
    assert shown("q=claims-triage") == ["new", "old", "rotating"]
    assert shown("q=NEW") == ["new"]


def test_a_key_leads_to_what_decides_its_calls(cast: Cast, browse: Browse) -> None:
    key = key_in(cast)
    page = browse(cast.bob).get(f"/keys/{key.key_id}/").content.decode()
    assert f'href="/refusals/explain/?credential={key.key_id}"' in page

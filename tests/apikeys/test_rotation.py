"""Rotate API keys: one id, two secrets for an overlap."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from apikeys.models import ApiKey
from apikeys.rotation import end_overlap, rotate_api_key
from apikeys.services import issue_api_key, refresh_users, revoke_api_key
from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision import decide, jobs
from portal.gateway.services import register_gateway
from portal.lib.errors import RuleBroken
from projects.services import add_member, remove_member
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]

pytestmark = pytest.mark.usefixtures("clean_state")


class Asking:
    """A gateway that asks whether a call with a secret may go ahead."""

    def __init__(self) -> None:
        self.secret = register_gateway(name="edge", actor=factories.ACTOR)[1]
        self.number = 0

    def answer(self, secret: str, **fields: Any) -> str:
        """Return ``allow`` or the code of the refusal."""
        self.number += 1
        usual: dict[str, Any] = {"model": "gpt-5-mini", "input_tokens": 1, "max_output_tokens": 1}
        call = decide.Call(credential=secret, request_id=f"r-{self.number}", **usual | fields)
        found = decide.authorize(self.secret, call)
        return found.code if isinstance(found, decide.Refused) else "allow"


@pytest.fixture
def cast() -> Cast:
    """The cast, committed: the decision sees it too."""
    made = factories.cast()
    factories.priced()
    return made


@pytest.fixture
def ask(cast: Cast) -> Callable[..., str]:
    """What a gateway is answered."""
    return Asking().answer


def key_in(cast: Cast, **fields: Any) -> tuple[ApiKey, str]:
    """Return a new key of Claims triage and its secret."""
    return issue_api_key(project=cast.triage, name="intake-batch", actor=factories.ACTOR, **fields)


def test_both_secrets_work_for_the_overlap_and_only_the_new_one_after_it(
    cast: Cast, ask: Callable[..., str]
) -> None:
    key, old = key_in(cast)
    rotated, new = rotate_api_key(key=key, overlap_hours=24, actor=factories.ACTOR)
    assert rotated.key_id == key.key_id
    assert (ask(old), ask(new)) == ("allow", "allow")
    end_overlap(key=key, actor=factories.ACTOR)
    assert (ask(old), ask(new)) == ("credential_unknown", "allow")


def test_without_an_overlap_the_old_secret_is_refused_at_once(cast: Cast, ask: Callable[..., str]) -> None:
    key, old = key_in(cast)
    _, new = rotate_api_key(key=key, overlap_hours=0, actor=factories.ACTOR)
    assert (ask(old), ask(new)) == ("credential_unknown", "allow")


def test_the_overlap_ends_with_the_key(cast: Cast) -> None:
    key, _ = key_in(cast, days=1)
    rotated, _ = rotate_api_key(key=key, overlap_hours=72, actor=factories.ACTOR)
    assert rotated.previous_until == rotated.expires == key.expires


def test_a_rotation_may_renew_the_key_and_the_old_secret_still_ends_when_it_would_have(cast: Cast) -> None:
    key, _ = key_in(cast, days=1)
    rotated, _ = rotate_api_key(key=key, overlap_hours=72, days=90, actor=factories.ACTOR)
    assert rotated.previous_until == key.expires
    assert rotated.expires
    assert rotated.expires > timezone.now() + timedelta(days=89)


def test_only_one_rotation_is_open(cast: Cast) -> None:
    key, _ = key_in(cast)
    rotate_api_key(key=key, actor=factories.ACTOR)
    with pytest.raises(RuleBroken, match="is being rotated"):
        rotate_api_key(key=key, actor=factories.ACTOR)
    end_overlap(key=key, actor=factories.ACTOR)
    rotate_api_key(key=key, actor=factories.ACTOR)


def test_of_many_who_rotate_at_once_one_does(cast: Cast, ask: Callable[..., str]) -> None:
    key, old = key_in(cast)

    def rotate(_: int) -> str:
        try:
            return rotate_api_key(key=key, actor=factories.ACTOR)[1]
        except RuleBroken:
            return ""
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        made = [secret for secret in pool.map(rotate, range(20)) if secret]
    assert len(made) == 1
    assert (ask(old), ask(made[0])) == ("allow", "allow")
    assert AuditEntry.objects.filter(action="api_key.rotated").count() == 1


def test_a_revoked_key_is_refused_with_either_secret_and_rotates_no_more(
    cast: Cast, ask: Callable[..., str]
) -> None:
    key, old = key_in(cast)
    _, new = rotate_api_key(key=key, actor=factories.ACTOR)
    key = revoke_api_key(key=key, actor=factories.ACTOR)
    assert (ask(old), ask(new)) == ("credential_revoked", "credential_revoked")
    with pytest.raises(RuleBroken, match="revoked"):
        rotate_api_key(key=key, actor=factories.ACTOR)


def test_the_page_can_tell_which_secret_is_in_use(cast: Cast, ask: Callable[..., str]) -> None:
    key, old = key_in(cast)
    rotate_api_key(key=key, actor=factories.ACTOR)
    ask(old)
    jobs.note_last_use()
    key.refresh_from_db()
    assert key.previous_used == key.last_used is not None
    assert key.secret_used is None


def test_a_use_before_the_rotation_counts_for_the_old_secret(cast: Cast, ask: Callable[..., str]) -> None:
    key, old = key_in(cast)
    ask(old, client_ip="203.0.113.9")
    rotate_api_key(key=key, actor=factories.ACTOR)
    jobs.note_last_use()
    key.refresh_from_db()
    assert key.previous_used is not None
    assert key.secret_used is None
    assert key.last_used_from == "203.0.113.9"


def test_the_command_prints_the_new_secret_once(cast: Cast, ask: Callable[..., str]) -> None:
    key, old = key_in(cast)
    out = StringIO()
    call_command("rotate_api_key", key.key_id, "--overlap", "0", "--json", stdout=out)
    answer = json.loads(out.getvalue())
    assert answer.keys() == {"id", "secret", "expires_at"}
    assert answer["id"] == key.key_id
    assert (ask(old), ask(answer["secret"])) == ("credential_unknown", "allow")


def test_an_address_list_refuses_what_is_elsewhere_or_cannot_be_told(
    cast: Cast, ask: Callable[..., str]
) -> None:
    _, secret = key_in(cast, networks=["10.20.0.0/16"])
    assert ask(secret, client_ip="10.20.3.4") == "allow"
    assert ask(secret, client_ip="::ffff:10.20.3.4") == "allow"
    for address in ("10.21.0.1", "unknown", None):
        assert ask(secret, client_ip=address) == "address_not_allowed", address


def test_a_trusted_key_names_people_of_its_project_alone(cast: Cast, ask: Callable[..., str]) -> None:
    _, secret = key_in(cast, names_users=True)
    assert ask(secret, user="Carol@Northgate.example") == "allow"
    assert ask(secret, user="dave@northgate.example") == "not_a_member"
    add_member(project=cast.triage, person=cast.dave, actor=factories.ACTOR)
    assert ask(secret, user="dave@northgate.example") == "allow"
    remove_member(project=cast.triage, person=cast.carol, actor=factories.ACTOR)
    assert ask(secret, user="carol@northgate.example") == "not_a_member"


def test_a_person_renamed_by_the_directory_is_named_by_the_new_address(
    cast: Cast, ask: Callable[..., str]
) -> None:
    _, secret = key_in(cast, names_users=True)
    Person.objects.filter(pk=cast.carol.pk).update(email="carol.new@northgate.example")
    assert (refresh_users(), refresh_users()) == (1, 0)
    assert ask(secret, user="carol.new@northgate.example") == "allow"
    assert ask(secret, user="carol@northgate.example") == "not_a_member"

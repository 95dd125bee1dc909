"""A token or key may become valid later than it is issued: until then its calls are refused, by Valkey and Postgres."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apikeys.models import ApiKey
from apikeys.rotation import rotate_api_key
from apikeys.services import issue_api_key
from portal.accounts.models import Person
from portal.credentials.selectors import unused_since, with_status
from portal.credentials.watch import quiet_since
from portal.decision import decide, explanation, fallback_rules
from portal.decision.models import Subject
from portal.lib.errors import RuleBroken
from tests import factories
from tests.factories import Cast
from tokens.models import UserToken
from tokens.services import issue_token, publish

Browse = Callable[[Person], Client]


def in_days(days: float) -> datetime:
    """Return a moment of whole minutes so many days from now."""
    return (timezone.now() + timedelta(days=days)).replace(second=0, microsecond=0)


def typed(moment: datetime) -> str:
    """Return a moment as the form takes it, in UTC."""
    return f"{moment:%Y-%m-%dT%H:%M}"


def test_a_token_is_issued_for_later_and_its_page_says_so(cast: Cast, browse: Browse) -> None:
    begins, bob = in_days(10), browse(cast.bob)
    data = {"person": cast.carol.pk, "days": "30", "not_before": typed(begins)}
    answer = bob.post("/tokens/issue/?project=claims-triage", data)
    assert "Valid from" in answer.content.decode()
    token = UserToken.objects.get()
    assert (token.not_before, token.expires, token.status) == (
        begins,
        begins + timedelta(days=30),
        "starting",
    )
    page = bob.get(f"/tokens/{token.key_id}/").content.decode()
    assert "Not yet valid" in page
    assert "Every request with it before is refused" in page
    assert "Not yet valid" in bob.get("/tokens/", {"status": "starting"}).content.decode()
    assert not with_status(UserToken.objects.all(), "suspended").exists()


def test_a_key_is_created_for_later(cast: Cast, browse: Browse) -> None:
    begins = in_days(3)
    data = {"name": "intake", "owner": cast.bob.pk, "days": "7", "not_before": typed(begins)}
    browse(cast.bob).post("/keys/issue/?project=claims-triage", data)
    key = ApiKey.objects.get()
    assert (key.not_before, key.expires, key.status) == (begins, begins + timedelta(days=7), "starting")
    rotate_api_key(key=key, days=5, actor=factories.ACTOR)
    key.refresh_from_db()
    assert key.expires == begins + timedelta(days=5)


def test_the_first_moment_is_refused_too_far_away_and_means_now_in_the_past(
    cast: Cast, browse: Browse
) -> None:
    with pytest.raises(RuleBroken, match="within 365 days"):
        issue_token(project=cast.triage, person=cast.carol, not_before=in_days(366), actor=factories.ACTOR)
    data = {"person": cast.carol.pk, "days": "30", "not_before": "soon"}
    answer = browse(cast.bob).post("/tokens/issue/?project=claims-triage", data)
    assert answer.status_code == 422
    assert 'value="soon"' in answer.content.decode()
    token, _ = issue_token(
        project=cast.triage, person=cast.carol, not_before=in_days(-1), actor=factories.ACTOR
    )
    assert (token.not_before, token.status) == (None, "active")


def test_one_that_is_not_valid_yet_is_not_unused(cast: Cast) -> None:
    token, _ = issue_token(
        project=cast.triage, person=cast.carol, not_before=in_days(100), actor=factories.ACTOR
    )
    UserToken.objects.filter(pk=token.pk).update(created=in_days(-200))
    token.refresh_from_db()
    assert not unused_since(UserToken.objects.all(), in_days(-90)).exists()
    assert quiet_since(token) == token.not_before


def test_valkey_postgres_and_the_explanation_refuse_it_until_then(clean_state: None) -> None:
    cast = factories.cast()
    model = factories.priced()
    token, _ = issue_token(
        project=cast.triage, person=cast.carol, not_before=in_days(2), actor=factories.ACTOR
    )
    key, _ = issue_api_key(
        project=cast.triage, name="intake", never_expires=True, not_before=in_days(2), actor=factories.ACTOR
    )
    for credential in (token, key):
        asked: dict[str, Any] = {"model": model, "input_tokens": 10, "max_output_tokens": 10}
        assert decide.explain(credential.key_id, **asked).code == "credential_suspended"
        for days, code in ((1, "credential_suspended"), (3, "allow")):
            told = explanation.explain_at(credential.key_id, at=in_days(days), **asked)
            assert told.code == code
        facts = Subject.objects.get(pk=f"s:{credential.key_id}").data
        project = Subject.objects.get(pk=f"p:{cast.triage.pk}").data
        for days, refused in ((1, "credential_suspended"), (3, None)):
            now = int(in_days(days).timestamp() * 1000)
            found = fallback_rules.refusal(
                facts, project, model=model, is_priced=True, bits="", now=now, is_named=True
            )
            assert found == refused


def test_it_is_admitted_once_its_moment_has_come(clean_state: None) -> None:
    cast = factories.cast()
    model = factories.priced()
    token, _ = issue_token(
        project=cast.triage, person=cast.carol, not_before=in_days(2), actor=factories.ACTOR
    )
    subject = Subject.objects.get(pk=f"s:{token.key_id}")
    UserToken.objects.filter(pk=token.pk).update(not_before=in_days(-1))
    token.refresh_from_db()
    publish(token)
    assert Subject.objects.get(pk=subject.pk).data["not_before"] < subject.data["not_before"]
    found = decide.explain(token.key_id, model=model, input_tokens=10, max_output_tokens=10)
    assert found.code == "allow"

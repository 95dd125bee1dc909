"""Suspend and resume user tokens: reversible, unlike revoking."""

import pytest
from django.test import Client

from audit.models import AuditEntry
from portal.decision.models import Subject
from portal.lib.errors import RuleBroken
from tests import factories
from tests.factories import Cast
from tokens.models import UserToken
from tokens.services import (
    issue_token,
    resume_token,
    resume_tokens_of,
    revoke_token,
    suspend_token,
    suspend_tokens_of,
)


def token_of(cast: Cast, **fields: object) -> UserToken:
    """Return a new token of Carol in Claims triage."""
    return issue_token(project=cast.triage, person=cast.carol, actor=factories.ACTOR, **fields)[0]  # type: ignore[arg-type]


def state(token: UserToken) -> str:
    """Return what the decision knows."""
    return str(Subject.objects.get(pk=f"s:{token.key_id}").data["state"])


def test_a_token_is_suspended_and_resumed(cast: Cast, client: Client) -> None:
    token = suspend_token(token=token_of(cast), reason="on leave", actor=factories.ACTOR)
    assert (token.status, state(token)) == ("suspended", "suspended")
    assert not UserToken.objects.active().exists()
    token = resume_token(token=token, actor=factories.ACTOR)
    assert (token.status, state(token)) == ("active", "active")
    actions = (
        AuditEntry.objects.filter(target_id=token.key_id).order_by("id").values_list("action", flat=True)
    )
    assert list(actions) == ["token.issued", "token.suspended", "token.resumed"]


def test_revoking_is_final(cast: Cast) -> None:
    token = revoke_token(token=token_of(cast), actor=factories.ACTOR)
    with pytest.raises(RuleBroken, match="final"):
        suspend_token(token=token, reason="", actor=factories.ACTOR)
    with pytest.raises(RuleBroken, match="final"):
        resume_token(token=token, actor=factories.ACTOR)
    assert state(token) == "revoked"


def test_who_left_has_their_tokens_suspended_and_who_returns_has_those_back(cast: Cast) -> None:
    by_hand, left, gone = (token_of(cast) for _ in range(3))
    suspend_token(token=by_hand, reason="lost laptop", actor=factories.ACTOR)
    revoke_token(token=gone, actor=factories.ACTOR)
    assert suspend_tokens_of(cast.carol, reason="left the directory", actor=factories.ACTOR) == 1
    assert suspend_tokens_of(cast.carol, reason="left the directory", actor=factories.ACTOR) == 0
    assert [state(token) for token in (by_hand, left, gone)] == ["suspended", "suspended", "revoked"]
    assert resume_tokens_of(cast.carol, actor=factories.ACTOR) == 1
    assert [state(token) for token in (by_hand, left, gone)] == ["suspended", "active", "revoked"]


def test_a_token_of_a_disabled_person_stays_suspended(cast: Cast) -> None:
    token = suspend_token(token=token_of(cast), reason="", actor=factories.ACTOR)
    cast.carol.is_active = False
    cast.carol.save()
    with pytest.raises(RuleBroken, match="disabled"):
        resume_token(token=token, actor=factories.ACTOR)
    assert state(token) == "suspended"

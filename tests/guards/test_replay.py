"""What one person's browser has sent is sent again with another's session: it changes nothing and reveals nothing."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from django.core.handlers.base import BaseHandler
from django.test import Client

from audit.models import AuditEntry
from portal.approvals.models import Request
from portal.decision.services import set_limit
from portal.spend import scopes
from portal.spend.models import Limit
from projects.models import Membership
from tests.factories import ACTOR, Cast, signed_in


@pytest.fixture
def recorded(cast: Cast) -> list[tuple[str, str, dict[str, Any], Any]]:
    """Bob's day in his own project, as his browser sent it: method, path, fields, and what he was shown."""
    values = {"metric": "spend", "window": "day", "amount": "100", "actor": ACTOR}
    set_limit(scope_key=scopes.project(cast.triage.pk), label="Project Claims triage", **values)  # type: ignore[arg-type]
    bob, sent = signed_in(cast.bob), []
    answer_of = BaseHandler.get_response

    def record(handler: BaseHandler, request: Any) -> Any:
        fields = {name: request.POST.getlist(name) for name in request.POST}
        answer = answer_of(handler, request)
        sent.append((request.method, request.get_full_path(), fields, answer))
        return answer

    with patch.object(BaseHandler, "get_response", record):
        project, limit = f"/projects/{cast.triage.code}/", Limit.objects.get()
        for page in (
            "",
            "tokens/",
            "keys/",
            "members/",
            "limits/",
            "activity/",
            "settings/",
        ):
            assert bob.get(project + page).status_code == 200
        issue = f"?project={cast.triage.code}"
        assert bob.post(f"/tokens/issue/{issue}", _token(cast)).status_code == 200
        assert bob.post(f"/keys/issue/{issue}", {"name": "crm", "days": "30"}).status_code in (200, 422)
        token = cast.triage.tokens.get()
        asking = f"/limits/raise/?project={cast.triage.code}"
        seen = bob.get(asking).context["form"]["seen"].value()
        wanted = {"limit": limit.pk, "amount": "250", "reason": "more", "seen": seen}
        assert bob.post(asking, wanted).status_code == 302
        number = Request.objects.get().pk
        assert bob.get(f"/requests/{number}/").status_code == 200
        assert bob.post(f"/requests/{number}/withdraw/", {"reason": "not needed"}).status_code == 302
        assert bob.post(f"/tokens/{token.key_id}/revoke/", {}).status_code == 302
        carol = f"{project}members/{cast.carol.pk}/remove/"
        assert bob.get(carol).status_code == 200
        assert bob.post(f"{project}settings/", {"name": "Mine", "description": ""}).status_code in (302, 422)
        assert bob.post(f"{project}state/paused/", {}).status_code == 302
    return sent


def _token(cast: Cast) -> dict[str, str]:
    return {"person": str(cast.bob.pk), "name": "laptop", "days": "30"}


def state(cast: Cast) -> tuple[Any, ...]:
    """Return what Bob's day could change."""
    cast.triage.refresh_from_db()
    return (
        cast.triage.name,
        cast.triage.state,
        cast.triage.tokens.count(),
        cast.triage.api_keys.count(),
        Membership.objects.filter(project=cast.triage).count(),
        Request.objects.count(),
        [limit.amount for limit in Limit.objects.order_by("pk")],
        AuditEntry.objects.exclude(action="access.refused").count(),
    )


def test_a_stranger_s_session_gets_nothing_of_it(
    cast: Cast, recorded: list[tuple[str, str, dict[str, Any], Any]]
) -> None:
    dave, before = signed_in(cast.dave), state(cast)
    assert len(recorded) > 15
    for method, path, fields, his in recorded:
        for htmx in ({}, {"HX-Request": "true"}):
            answer = _send(dave, method, path, fields, htmx)
            assert answer.status_code in (403, 404), (method, path, answer.status_code)
            text = answer.content.decode()
            assert "Claims triage" not in text, path
            assert "laptop" not in text, path
        assert his.status_code < 500
    assert state(cast) == before


def test_a_member_s_session_changes_nothing_of_it(
    cast: Cast, recorded: list[tuple[str, str, dict[str, Any], Any]]
) -> None:
    carol, before = signed_in(cast.carol), state(cast)
    for method, path, fields, _ in recorded:
        if method == "POST":
            answer = _send(carol, method, path, fields, {})
            assert answer.status_code in (403, 404, 422), (method, path, answer.status_code)
    assert state(cast) == before


def test_no_session_gets_nothing_of_it(
    cast: Cast, recorded: list[tuple[str, str, dict[str, Any], Any]]
) -> None:
    before = state(cast)
    for method, path, fields, _ in recorded:
        answer = _send(Client(), method, path, fields, {})
        assert answer.status_code == 302
        assert answer["Location"].startswith("/accounts/sign-in/")
    assert state(cast) == before


def _send(client: Client, method: str, path: str, fields: dict[str, Any], headers: dict[str, str]) -> Any:
    return (
        client.post(path, fields, headers=headers) if method == "POST" else client.get(path, headers=headers)
    )

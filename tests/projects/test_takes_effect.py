"""What is changed on a page holds for the very next call."""

from collections.abc import Callable

from django.test import Client

from portal.accounts.models import Person
from portal.decision import decide
from portal.lib import secrets
from tests import factories

Browse = Callable[[Person], Client]


def code(key_id: str) -> str:
    """Return what would decide a call now."""
    return decide.explain(key_id, model="gpt-5-mini", input_tokens=100, max_output_tokens=100).code


def test_pages_decide_the_next_call(clean_state: None, browse: Browse) -> None:
    cast = factories.cast()
    factories.priced("gpt-5-mini", "10")
    bob, alice = browse(cast.bob), browse(cast.alice)
    page = bob.post("/tokens/issue/?project=claims-triage", {"person": cast.carol.pk, "days": "1"})
    (secret,) = secrets.PATTERNS["user_token"].findall(page.content.decode())
    parsed = secrets.parse(secret)
    assert parsed is not None
    key_id = parsed.key_id
    assert code(key_id) == "allow"

    seen = alice.get("/projects/claims-triage/limits/").context["form"]["seen"].value()
    alice.post("/projects/claims-triage/limits/", {"daily": "0.001", "seen": seen})
    assert code(key_id) == "limit_exceeded"
    seen = alice.get("/projects/claims-triage/limits/").context["form"]["seen"].value()
    alice.post("/projects/claims-triage/limits/", {"daily": "", "seen": seen})
    assert code(key_id) == "allow"

    bob.post("/projects/claims-triage/state/paused/")
    assert code(key_id) == "project_inactive"
    bob.post("/projects/claims-triage/state/active/")
    assert code(key_id) == "allow"

    bob.post(f"/projects/claims-triage/members/{cast.carol.pk}/remove/")
    assert code(key_id) == "not_a_member"

    alice.post(f"/tokens/{key_id}/revoke/")
    assert code(key_id) == "credential_revoked"

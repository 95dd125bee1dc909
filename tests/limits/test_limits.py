"""The page of all limits: one form for every scope, metric, window, model and mode."""

from typing import Any

import pytest
from django.test import override_settings

from portal.decision.services import set_limit
from portal.spend import scopes
from portal.spend.models import Limit
from tests.factories import ACTOR
from tokens.services import issue_token

pytestmark = pytest.mark.django_db

ALL = [
    ({"kind": "o"}, "o"),
    ({"kind": "u:*"}, "u:*"),
    ({"kind": "u", "user": "{carol}"}, "u:{carol_pk}"),
    ({"kind": "g", "group": "claims"}, "g:{group_pk}"),
    ({"kind": "p", "project": "claims-triage"}, "p:{project_pk}"),
    ({"kind": "pu:*", "project": "claims-triage"}, "pu:{project_pk}:*"),
    ({"kind": "pu", "project": "claims-triage", "user": "{carol}"}, "pu:{project_pk}:{carol_pk}"),
    ({"kind": "pg", "project": "claims-triage", "group": "claims"}, "pg:{project_pk}:{group_pk}"),
    ({"kind": "c", "credential": "{token}"}, "c:{token}"),
]
MEASURES = ["spend|week", "requests|month", "tokens|day", "concurrency|none", "requests|minute"]


def sent(**fields: str) -> dict[str, str]:
    """Return a complete form."""
    return {
        "kind": "p",
        "project": "claims-triage",
        "measure": "spend|day",
        "amount": "12.5",
        "mode": "enforce",
    } | fields


@pytest.mark.parametrize(("fields", "key"), ALL, ids=[key for _, key in ALL])
def test_admin_sets_any_metric_on_any_scope(cast: Any, browse: Any, fields: dict[str, str], key: str) -> None:
    token, _ = issue_token(project=cast.triage, person=cast.carol, name="Notebook", actor=ACTOR)
    names = {"carol": cast.carol.email, "carol_pk": cast.carol.pk, "group_pk": cast.claims.pk,
             "project_pk": cast.triage.pk, "token": token.key_id}  # fmt: skip
    filled = {name: value.format(**names) for name, value in fields.items()}
    browser = browse(cast.alice)
    for measure in MEASURES:
        answer = browser.post(
            "/limits/new/", sent(**filled, measure=measure, amount="7", mode="observe", model="gpt-*")
        )
        assert answer.status_code == 302, answer.content.decode()
        metric, _, window = measure.partition("|")
        limit = Limit.objects.get(scope_key=key.format(**names), metric=metric, window=window, model="gpt-*")
        assert limit.amount == (7 * 10**9 if metric == "spend" else 7)
        assert limit.mode == "observe"


def test_without_valkey_the_list_says_that_what_is_used_is_not_known(cast: Any, browse: Any) -> None:
    scope = scopes.project(cast.triage.pk)
    set_limit(scope_key=scope, label="x", metric="spend", window="day", amount=9, actor=ACTOR)
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        page = browse(cast.alice).get("/limits/")
        assert browse(cast.alice).get("/projects/claims-triage/limits/").status_code == 200
    assert page.status_code == 200
    assert "What is used now is not known." in page.content.decode()


def test_owner_lowers_but_does_not_raise_and_a_stranger_sees_nothing(cast: Any, browse: Any) -> None:
    limit = set_limit(
        scope_key=scopes.project(cast.triage.pk),
        label="x",
        metric="spend",
        window="day",
        amount=10,
        actor=ACTOR,
    )
    assert limit
    owner = browse(cast.bob)
    page = f"/limits/{limit.pk}/"
    raised = owner.post(page, {"amount": "11", "mode": "enforce"})
    assert raised.status_code == 422
    assert "Ask for a raise" in raised.content.decode()
    assert owner.post(page, {"amount": "9", "mode": "observe"}).status_code == 422
    assert owner.post(f"/limits/{limit.pk}/remove/", {}).status_code == 403
    assert owner.post(page, {"amount": "9", "mode": "enforce"}).status_code == 302
    limit.refresh_from_db()
    assert limit.amount == 9 * 10**9
    stranger = browse(cast.dave)
    assert stranger.get(page).status_code == 404
    assert stranger.post(page, {"amount": "1", "mode": "enforce"}).status_code == 404
    assert browse(cast.carol).get(page).status_code == 403
    assert stranger.post("/limits/new/", sent()).status_code == 404


def test_the_later_of_two_saves_is_refused_and_shows_both_values(cast: Any, browse: Any) -> None:
    limit = set_limit(scope_key="o", label="x", metric="requests", window="day", amount=100, actor=ACTOR)
    assert limit
    browser = browse(cast.alice)
    seen = browser.get(f"/limits/{limit.pk}/").context["form"]["seen"].value()
    set_limit(scope_key="o", label="x", metric="requests", window="day", amount=200, actor=ACTOR)
    answer = browser.post(f"/limits/{limit.pk}/", {"amount": "300", "mode": "enforce", "seen": seen})
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "200" in text
    assert "300" in text
    again = {"amount": "300", "mode": "enforce", "seen": answer.context["form"]["seen"].value()}
    assert browser.post(f"/limits/{limit.pk}/", again).status_code == 302
    limit.refresh_from_db()
    assert limit.amount == 300


def test_what_is_typed_wrong_is_told_beside_its_field(cast: Any, browse: Any) -> None:
    browser = browse(cast.alice)
    for fields, field in (
        ({"amount": "1.5", "measure": "requests|day"}, "amount"),
        ({"amount": "many"}, "amount"),
        ({"project": "nothing"}, "project"),
        ({"kind": "pu", "user": "nobody@example.com"}, "user"),
        ({"kind": "c", "credential": "nothing"}, "credential"),
        ({"kind": "g", "group": ""}, "group"),
        ({"model": "a*b"}, "model"),
    ):
        answer = browser.post("/limits/new/", sent(**fields))
        assert answer.status_code == 422
        assert field in answer.context["form"].errors, fields
    assert not Limit.objects.exists()


def test_the_list_narrows_by_thing_and_filter_and_is_exported(cast: Any, browse: Any) -> None:
    browser = browse(cast.alice)
    browser.post("/limits/new/", sent())
    browser.post("/limits/new/", sent(kind="o", measure="tokens|week", amount="5000"))
    everything = browser.get("/limits/").content.decode()
    assert "Claims triage" in everything
    assert "Model tokens per week" in everything
    narrowed = browser.get("/limits/?project=claims-triage").content.decode()
    assert "Spend per day" in narrowed
    assert ">5,000<" not in narrowed
    assert "Claims triage" not in browser.get("/limits/?kind=o").content.decode().partition("<main")[2]
    lines = b"".join(browser.get("/limits/export/").streaming_content).decode().splitlines()
    assert len(lines) == 3
    assert browse(cast.bob).get("/limits/").status_code == 403
    assert browse(cast.bob).get("/limits/?project=claims-triage").status_code == 200


def test_the_preview_says_when_a_limit_refuses_at_once(cast: Any, browse: Any) -> None:
    browser = browse(cast.alice)
    zero = browser.post("/limits/preview/", sent(amount="0")).content.decode()
    assert "refuses every call at once" in zero
    assert "would be left" in browser.post("/limits/preview/", sent(amount="3")).content.decode()
    assert not Limit.objects.exists()

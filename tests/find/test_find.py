"""Find anything: what one may see, nothing else, and never a secret in an address."""

from typing import Any

import pytest

from groups.services import create_group
from portal.gateway.services import register_gateway
from tests.factories import ACTOR, usage
from tokens.services import issue_token

pytestmark = pytest.mark.django_db


def found(browser: Any, text: str) -> str:
    """Return the results as text."""
    response = browser.post("/find/", {"q": text}, headers={"HX-Request": "true"})
    assert response.status_code == 200
    return str(response.content.decode())


def test_admin_finds_projects_groups_people_and_pages(cast: Any, browse: Any) -> None:
    create_group(code="underwriting", name="Underwriting", actor=ACTOR)
    browser = browse(cast.alice)
    assert f"/projects/{cast.triage.code}/" in found(browser, cast.triage.name[:4].lower())
    assert "/groups/underwriting/" in found(browser, "erwrit")
    assert f"/accounts/people/{cast.bob.pk}/" in found(browser, cast.bob.name.upper())
    assert 'href="/audit/"' in found(browser, "aud")


def test_a_token_is_found_by_its_id_its_last_characters_and_whole(cast: Any, browse: Any) -> None:
    token, secret = issue_token(project=cast.triage, person=cast.carol, name="Notebook", actor=ACTOR)
    browser = browse(cast.alice)
    for text in (token.key_id, secret[-4:], secret, token.hint):
        page = found(browser, text)
        assert f"/tokens/{token.key_id}/" in page, text
    assert secret not in found(browser, secret).replace(f'value="{secret}"', "")


def test_what_is_not_theirs_is_not_found(cast: Any, browse: Any) -> None:
    token, secret = issue_token(project=cast.triage, person=cast.carol, name="Notebook", actor=ACTOR)
    own = browse(cast.carol)
    assert f"/tokens/{token.key_id}/" in found(own, token.key_id)
    assert "/accounts/people/" not in found(own, cast.bob.name)
    stranger = browse(cast.dave)
    for text in (secret, token.key_id, cast.triage.name, cast.triage.code):
        assert "Nothing you may see matches" in found(stranger, text)


def test_a_call_is_found_by_its_request_id_by_who_may_see_it(cast: Any, browse: Any) -> None:
    gateway, _ = register_gateway(name="edge", actor=ACTOR)
    usage(cast.triage, "0.5", person=cast.carol, request_id="chat-4711", gateway=gateway.key_id)
    for who, sees in ((cast.alice, True), (cast.bob, True), (cast.carol, True), (cast.dave, False)):
        browser = browse(who)
        page = found(browser, "chat-4711")
        assert (f"/calls/?q=chat-4711&amp;gateway={gateway.key_id}" in page) is sees, who.name
    assert "Calls" not in found(browse(cast.alice), "chat-47"), "only a whole id names a call"


def test_without_javascript_it_is_a_page(cast: Any, browse: Any) -> None:
    browser = browse(cast.alice)
    assert "Find anything" in browser.get("/find/").content.decode()
    page = browser.post("/find/", {"q": cast.triage.name}).content.decode()
    assert f"/projects/{cast.triage.code}/" in page
    assert "<html" in page


def test_short_and_unknown_texts_say_what_to_do(cast: Any, browse: Any) -> None:
    browser = browse(cast.alice)
    assert "Type a name" in found(browser, "x")
    assert "Nothing you may see matches" in found(browser, "zzzznothing")

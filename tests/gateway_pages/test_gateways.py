"""Register gateways, give them another secret, revoke them."""

import io
import json
from collections.abc import Callable

import pytest
from django.test import Client

from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision.models import Subject
from portal.gateway import http
from portal.gateway.models import Gateway
from portal.gateway.services import register_gateway, revoke_gateway, rotate_gateway
from portal.lib import secrets
from tests import factories
from tests.factories import Cast
from tests.gateway.client import Client as Gateways

Browse = Callable[[Person], Client]
PAGE = "/settings/gateways/"
HTMX = {"HX-Request": "true"}


def secret_in(page: str) -> str:
    """Return the one secret that a page shows."""
    (secret,) = secrets.PATTERNS["gateway"].findall(page)
    return str(secret)


def test_the_secret_is_shown_in_the_one_answer(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    answer = alice.post(f"{PAGE}register/", {"name": "litellm-eu", "reason": "new region"})
    page = answer.content.decode()
    secret = secret_in(page)
    assert answer["Cache-Control"] == "no-store"
    assert "LLM_PORTAL_URL=" in page
    assert "LLM_PORTAL_GATEWAY_SECRET=" in page
    gateway = Gateway.objects.get()
    assert Subject.objects.get(pk=f"w:{gateway.key_id}").data["state"] == "active"
    shown = alice.get(PAGE).content.decode()
    assert "litellm-eu" in shown
    assert "Not connected" in shown
    assert secret not in shown
    assert secret not in str(list(AuditEntry.objects.values()))
    assert secret not in str(dict(alice.session))
    assert AuditEntry.objects.get(action="gateway.registered").comment == "new region"


@pytest.mark.parametrize("name", ["", "gw-west-1", "  gw-west-1 ", "x" * 121, "a\tb\x07"])
def test_a_name_is_needed_and_not_in_use(cast: Cast, browse: Browse, name: str) -> None:
    register_gateway(name="gw-west-1", actor=factories.ACTOR)
    answer = browse(cast.alice).post(f"{PAGE}register/", {"name": name}, headers=HTMX)
    assert answer.status_code == 422
    assert answer["HX-Retarget"] == "#dialogs"
    assert Gateway.objects.count() == 1


def test_operators_manage_auditors_read_others_see_nothing(cast: Cast, browse: Browse) -> None:
    gateway, _ = register_gateway(name="gw-west-1", actor=factories.ACTOR)
    oscar = browse(factories.person("Oscar Operator", role="operator"))
    assert oscar.get(f"{PAGE}register/").status_code == 200
    assert oscar.post(f"{PAGE}register/", {"name": "gw-west-2"}).status_code == 200
    erin = browse(cast.erin)
    assert "Register gateway" not in erin.get(PAGE).content.decode()
    for who in (cast.erin, cast.bob):
        for path in ("register/", f"{gateway.key_id}/secret/", f"{gateway.key_id}/revoke/"):
            assert browse(who).post(f"{PAGE}{path}", {"name": "mine"}).status_code == 403
    assert browse(cast.bob).get(PAGE).status_code == 403
    assert Gateway.objects.filter(revoked=None).count() == 2
    assert AuditEntry.objects.filter(action="access.refused").count() == 6


def test_the_list_is_searched_by_name_and_last_four(cast: Cast, browse: Browse) -> None:
    west, _ = register_gateway(name="gw-west", actor=factories.ACTOR)
    east, _ = register_gateway(name="gw-east", actor=factories.ACTOR)
    revoke_gateway(gateway=east, actor=factories.ACTOR)
    erin = browse(cast.erin)

    def names(**query: str) -> list[str]:
        return [row.name for row in erin.get(PAGE, query, headers=HTMX).context["page"].rows]

    assert sorted(names()) == ["gw-east", "gw-west"]
    assert names(q="EAST") == ["gw-east"]
    assert "gw-west" in names(q=west.hint[-4:])
    assert names(status="active") == ["gw-west"]
    assert names(status="revoked") == ["gw-east"]
    assert "No gateways match" in erin.get(PAGE, {"q": "nothing"}).content.decode()


def authorize(gateway_secret: str) -> int:
    """Ask for a decision as the gateway and return the status."""
    found: list[str] = []
    body = json.dumps({"request_id": "r-1"}).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/gateway/v1/authorize",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": f"Bearer {gateway_secret}",
        "wsgi.input": io.BytesIO(body),
    }
    list(http.answer(environ, lambda status, headers, exc_info=None: found.append(status)))  # type: ignore[arg-type]
    return int(found[0].split()[0])


def test_a_revoked_gateway_is_refused_from_its_next_request(clean_state: None, browse: Browse) -> None:
    cast = factories.cast()
    alice = browse(cast.alice)
    secret = secret_in(alice.post(f"{PAGE}register/", {"name": "gw-west-1"}).content.decode())
    assert authorize(secret) == 422  # known: what it sends is looked at

    gateway = Gateway.objects.get()
    newer = secret_in(alice.post(f"{PAGE}{gateway.key_id}/secret/").content.decode())
    assert (authorize(secret), authorize(newer)) == (401, 422)

    page = alice.get(f"{PAGE}{gateway.key_id}/revoke/").content.decode()
    assert "Every call through it" in page
    answer = alice.post(f"{PAGE}{gateway.key_id}/revoke/", {"reason": "leaked"}, headers=HTMX)
    assert "gateway-table" in answer["HX-Trigger"]
    assert authorize(newer) == 401
    assert AuditEntry.objects.get(action="gateway.revoked").comment == "leaked"
    assert alice.post(f"{PAGE}{gateway.key_id}/secret/").status_code == 422
    assert alice.get(f"{PAGE}unknown/revoke/").status_code == 404


def test_a_suspended_gateway_is_refused_until_it_is_resumed(clean_state: None, browse: Browse) -> None:
    cast = factories.cast()
    gateway, secret = register_gateway(name="gw-west-1", actor=factories.ACTOR)
    alice = browse(cast.alice)

    def status() -> int:
        return Gateways(secret).post("usage", {"events": []}).status

    assert status() == 422
    assert "Suspend gateway" in alice.get(f"{PAGE}{gateway.key_id}/suspend/").content.decode()
    alice.post(f"{PAGE}{gateway.key_id}/suspend/", {"reason": "it misbehaves"})
    assert status() == 401
    assert "Suspended" in alice.get(PAGE).content.decode()
    gateway, other = rotate_gateway(gateway=gateway, actor=factories.ACTOR)
    assert Gateways(other).post("usage", {"events": []}).status == 401
    alice.post(f"{PAGE}{gateway.key_id}/resume/", {"reason": "mended"})
    assert Gateways(other).post("usage", {"events": []}).status == 422
    done = AuditEntry.objects.filter(action__in=["gateway.suspended", "gateway.resumed"]).order_by(
        "seal__seq"
    )
    assert [entry.comment for entry in done] == ["it misbehaves", "mended"]
    revoke_gateway(gateway=gateway, actor=factories.ACTOR)
    assert alice.post(f"{PAGE}{gateway.key_id}/suspend/", {"reason": "late"}, headers=HTMX).status_code == 422

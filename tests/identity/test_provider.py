"""The stand-in keeps the protocol as Entra ID does."""

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from portal.accounts.entra.assertion import TYPE, client_assertion
from tests.identity_fixtures import StandIn, query_of

CALLBACK = "http://testserver/accounts/sign-in/callback/"


class Flow:
    """One sign-in by hand: every parameter can be another."""

    def __init__(self, standin: StandIn) -> None:
        self.standin = standin
        env = standin.environment
        self.base = f"{env['ENTRA_AUTHORITY']}/{env['ENTRA_TENANT_ID']}/oauth2/v2.0"
        self.client = {"client_id": env["ENTRA_CLIENT_ID"], "client_secret": env["ENTRA_CLIENT_SECRET"]}
        self.verifier = secrets.token_urlsafe(48)
        self.browser = requests.Session()
        self.browser.trust_env = False

    def ask(self, **changes: str) -> requests.Response:
        """Open the page at Microsoft."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "client_id": self.client["client_id"],
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid profile email",
            "state": "the-state",
            "nonce": "the-nonce",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **changes,
        }
        return self.browser.get(f"{self.base}/authorize", params=query, allow_redirects=False, timeout=10)

    def choose(self, who: str = "alice", **changes: str) -> requests.Response:
        """Choose an account there."""
        page = self.ask(**changes)
        assert page.status_code == 200, page.text
        return self.browser.post(page.url, data={"account": who}, allow_redirects=False, timeout=10)

    def code(self, who: str = "alice", **changes: str) -> str:
        """Return the code the browser brings back."""
        return query_of(self.choose(who, **changes).headers["Location"])["code"]

    def redeem(self, code: str, **changes: str | None) -> requests.Response:
        """Ask for the tokens."""
        data: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": self.verifier,
            **self.client,
            **changes,
        }
        sent = {name: value for name, value in data.items() if value is not None}
        return self.browser.post(f"{self.base}/token", data=sent, timeout=10)

    def claims(self, who: str = "alice", **changes: str) -> dict[str, Any]:
        """Return the claims of an id token, unverified."""
        token = self.redeem(self.code(who, **changes)).json()["id_token"]
        payload = token.split(".")[1]
        return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


@pytest.fixture
def flow(standin: StandIn) -> Iterator[Flow]:
    """A sign-in by hand."""
    made = Flow(standin)
    yield made
    made.browser.close()


def test_discovery_document_has_entras_shape(standin: StandIn) -> None:
    env = standin.environment
    issuer = f"{env['ENTRA_AUTHORITY']}/{env['ENTRA_TENANT_ID']}/v2.0"

    document = standin.session.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()

    base = issuer.removesuffix("/v2.0")
    assert document["issuer"] == issuer
    assert document["authorization_endpoint"] == f"{base}/oauth2/v2.0/authorize"
    assert document["token_endpoint"] == f"{base}/oauth2/v2.0/token"
    assert document["end_session_endpoint"] == f"{base}/oauth2/v2.0/logout"
    assert document["jwks_uri"] == f"{base}/discovery/v2.0/keys"
    keys = standin.session.get(document["jwks_uri"], timeout=10).json()["keys"]
    assert {"kty", "use", "kid", "n", "e"} <= set(keys[0])
    assert "d" not in keys[0]


def test_id_token_has_entras_claims(flow: Flow, standin: StandIn) -> None:
    claims = flow.claims("alice")

    directory = standin.person("alice")
    assert claims["oid"] == directory["id"]
    assert claims["tid"] == directory["tid"]
    assert claims["roles"] == ["Portal.Admin"]
    assert claims["nonce"] == "the-nonce"
    assert claims["ver"] == "2.0"
    assert claims["aud"] == standin.environment["ENTRA_CLIENT_ID"]
    assert claims["preferred_username"] == claims["email"] == "alice@northgate.example"
    assert set(claims["groups"]) == set(directory["groups"])
    assert claims["sub"] not in (claims["oid"], claims["email"])
    assert claims["sid"]
    assert "roles" not in flow.claims("bob", prompt="select_account")


def test_more_than_two_hundred_groups_are_not_in_the_token(flow: Flow) -> None:
    claims = flow.claims("omar")

    assert "groups" not in claims
    assert claims["_claim_names"] == {"groups": "src1"}
    assert claims["_claim_sources"]["src1"]["endpoint"].endswith("/getMemberObjects")


def test_guest_comes_from_elsewhere(flow: Flow) -> None:
    claims = flow.claims("guest.consultant")

    assert claims["acct"] == 1
    assert claims["idp"] != claims["iss"]


def test_code_is_good_once_and_for_one_verifier(flow: Flow) -> None:
    code = flow.code()
    assert flow.redeem(code).ok
    for answer in (
        flow.redeem(code),
        flow.redeem(flow.code(prompt="login"), code_verifier="A" * 43),
        flow.redeem(flow.code(prompt="login"), code_verifier=None),
        flow.redeem(flow.code(prompt="login"), redirect_uri="http://testserver/other/"),
        flow.redeem("made-up"),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"] in ("invalid_grant", "invalid_request")
        assert "id_token" not in answer.json()


def test_client_has_to_prove_itself(flow: Flow, standin: StandIn) -> None:
    for changes in ({"client_secret": "wrong"}, {"client_secret": None}, {"client_id": "other"}):
        answer = flow.redeem(flow.code(prompt="login"), **changes)
        assert answer.status_code in (400, 401)
        assert answer.json()["error"] == "invalid_client"


def test_client_proves_itself_by_its_certificate(flow: Flow, standin: StandIn) -> None:
    env = standin.environment
    proof = {"client_secret": None, "client_assertion_type": TYPE}

    def assertion(audience: str) -> str:
        return client_assertion(
            env["ENTRA_CLIENT_ID"], audience, env["GRAPH_CERTIFICATE"], env["GRAPH_PRIVATE_KEY"]
        )

    good = assertion(f"{flow.base}/token")
    assert flow.redeem(flow.code(), **proof, client_assertion=good).ok
    for bad in (good, assertion("https://login.microsoftonline.com/token"), good[:-4] + "AAAA", "x.y.z"):
        answer = flow.redeem(flow.code(prompt="login"), **proof, client_assertion=bad)
        assert answer.status_code in (400, 401)
        assert answer.json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    "changes", [{"redirect_uri": "http://testserver/accounts/sign-in/callback/x"}, {"client_id": "other"}]
)
def test_browser_is_sent_nowhere_else(flow: Flow, changes: dict[str, str]) -> None:
    answer = flow.ask(**changes)

    assert answer.status_code == 400
    assert "AADSTS" in answer.text


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": ""},
        {"prompt": "none"},
        {"response_type": "token"},
    ],
)
def test_wrong_request_comes_back_as_an_error(flow: Flow, changes: dict[str, str]) -> None:
    answer = flow.ask(**changes)

    query = query_of(answer.headers["Location"])
    assert answer.headers["Location"].startswith(CALLBACK)
    assert query["error"]
    assert query["state"] == "the-state"
    assert "code" not in query


def test_session_is_kept_until_sign_out(flow: Flow) -> None:
    token = flow.redeem(flow.code()).json()["id_token"]
    assert query_of(flow.ask().headers["Location"])["code"]
    assert flow.ask(prompt="select_account").status_code == 200
    assert flow.ask(prompt="login").status_code == 200

    back = "http://testserver/accounts/signed-out/"
    answer = flow.browser.get(
        f"{flow.base}/logout",
        params={"id_token_hint": token, "post_logout_redirect_uri": back},
        allow_redirects=False,
        timeout=10,
    )

    assert answer.headers["Location"] == back
    assert flow.ask().status_code == 200


def test_sign_out_leads_nowhere_else(flow: Flow) -> None:
    for query in ({"post_logout_redirect_uri": "https://evil.example/"}, {"id_token_hint": "x.y.z"}, {}):
        answer = flow.browser.get(f"{flow.base}/logout", params=query, allow_redirects=False, timeout=10)
        assert answer.status_code in (200, 400)


def test_disabled_and_unknown_people_do_not_come_in(flow: Flow, standin: StandIn) -> None:
    assert "AADSTS50057" in flow.choose("former.employee").text
    assert "AADSTS50034" in flow.choose("nobody").text
    code = flow.code("carol")
    standin.change("carol", enabled=False)
    assert flow.redeem(code).status_code == 400
    assert flow.ask().status_code == 200


def test_conditional_access_comes_back_as_an_error(flow: Flow, standin: StandIn) -> None:
    standin.change("carol", sign_in_error="AADSTS53003: Blocked.")

    query = query_of(flow.choose("carol").headers["Location"])

    assert query["error_description"] == "AADSTS53003: Blocked."
    assert query["state"] == "the-state"


def test_page_to_choose_says_what_it_is(flow: Flow) -> None:
    page = flow.ask()

    assert "Stand-in for Microsoft sign-in" in page.text
    assert "Elena Marsh" in page.text
    assert "<script" not in page.text
    assert " style=" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' http://testserver" in policy
    assert page.headers["Cache-Control"] == "no-store"


def test_page_to_choose_is_searched(flow: Flow) -> None:
    page = flow.ask(standin_q="underwriting")

    assert "Clara Esposito" in page.text
    assert "Elena Marsh" not in page.text
    assert 'name="state" value="the-state"' in page.text
    assert "Nobody is called" in flow.ask(standin_q="<zzz>").text


def test_control_needs_its_token(standin: StandIn) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = standin.session.post(f"{standin.http}/_control/reset", headers=headers, timeout=10)
        assert answer.status_code == 403


def test_secrets_are_for_the_owner_alone(standin: StandIn) -> None:
    from pathlib import Path

    folder = Path(standin.environment["ENTRA_CA_FILE"]).parent
    for name in ("secrets.json", "signing.pem", "server.pem", "client.key"):
        assert folder.joinpath(name).stat().st_mode & 0o077 == 0


def test_settings_stay_the_same(standin: StandIn) -> None:
    from pathlib import Path

    from portal.demo.identity import settings_for

    env = standin.environment
    folder = Path(env["ENTRA_CA_FILE"]).parents[1]
    assert settings_for(folder, 1, 2, "http://x/")["ENTRA_CLIENT_SECRET"] == env["ENTRA_CLIENT_SECRET"]

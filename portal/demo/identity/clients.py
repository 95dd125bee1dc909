"""The two application registrations and the authorization codes, in the shape Authlib asks for."""

import hmac
import time
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oidc.core import AuthorizationCodeMixin

from portal.demo.identity.material import GRAPH_CLIENT_ID, PORTAL_CLIENT_ID, Material

CALLBACK_PATH = "/accounts/sign-in/callback/"
SIGNED_OUT_PATH = "/accounts/signed-out/"
CODE_LIFETIME = 60  # seconds


@dataclass(frozen=True)
class Client(ClientMixin):  # type: ignore[misc]
    """An application registration. The secret and the certificate are both accepted, as in Entra ID."""

    client_id: str
    secret: str
    grant_types: tuple[str, ...]
    scopes: tuple[str, ...]
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    app_permissions: tuple[str, ...] = ()  # application permissions at Microsoft Graph

    @property
    def client_metadata(self) -> dict[str, Any]:
        """What the end-session endpoint looks at."""
        return {"post_logout_redirect_uris": list(self.post_logout_redirect_uris)}

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        return None  # the request must name it

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(each for each in (scope or "").split() if each in self.scopes)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return hmac.compare_digest(client_secret, self.secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in {"client_secret_post", "client_secret_basic", "private_key_jwt"}

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and bool(self.redirect_uris)

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grant_types


def registrations(material: Material, portal_url: str) -> dict[str, Client]:
    """Return the registrations of a portal at `portal_url`."""
    portal = Client(
        PORTAL_CLIENT_ID,
        material.client_secret,
        grant_types=("authorization_code",),
        scopes=("openid", "profile", "email"),
        redirect_uris=(portal_url + CALLBACK_PATH,),
        post_logout_redirect_uris=(portal_url + SIGNED_OUT_PATH,),
    )
    graph = Client(
        GRAPH_CLIENT_ID,
        material.client_secret,
        grant_types=("client_credentials",),
        scopes=("https://graph.microsoft.com/.default",),
        app_permissions=("User.Read.All", "GroupMember.Read.All"),
    )
    return {each.client_id: each for each in (portal, graph)}


@dataclass(frozen=True)
class Code(AuthorizationCodeMixin):  # type: ignore[misc]
    """One authorization code; it is removed when it is presented, whatever comes of that."""

    code: str
    client_id: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str
    account: str
    sid: str
    auth_time: int
    contexts: frozenset[str] = frozenset()
    made: float = field(default_factory=time.monotonic)

    @property
    def is_expired(self) -> bool:
        return time.monotonic() - self.made > CODE_LIFETIME

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None

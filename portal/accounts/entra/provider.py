"""The allauth provider: authorization code flow with PKCE, state and nonce, and nothing from the query string."""

import secrets
from typing import Any

from allauth.socialaccount.models import SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.base import ProviderAccount
from allauth.socialaccount.providers.base.constants import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Client, OAuth2Error
from allauth.socialaccount.providers.oauth2.provider import OAuth2Provider
from allauth.socialaccount.providers.oauth2.views import OAuth2Adapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from portal.accounts.conf import microsoft
from portal.accounts.entra.assertion import TYPE, client_assertion
from portal.accounts.entra.discovery import Untrusted, discovery
from portal.accounts.entra.id_token import verify
from portal.accounts.outbound import OutboundSession

ID = "entra"
SCOPES = ["openid", "profile", "email"]


class EntraClient(OAuth2Client):  # type: ignore[misc]  # allauth has no types
    """Redeems codes, and tells Microsoft's refusals from its failures."""

    def get_access_token(
        self, code: str, pkce_code_verifier: str | None = None, extra_data: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the token endpoint's answer; raise OAuth2Error on a refusal, RequestException on a failure."""
        data = {
            "grant_type": "authorization_code",
            "client_id": self.consumer_key,
            "redirect_uri": self.callback_url,
            "code": code,
            "code_verifier": pkce_code_verifier or "",
            **(extra_data or {"client_secret": self.consumer_secret}),
        }
        with OutboundSession(ca_file=microsoft.ca_file) as session:
            answer = session.post(self.access_token_url, data=data)
        if answer.status_code >= 500:
            answer.raise_for_status()
        try:
            body = answer.json()
        except ValueError as error:
            raise OAuth2Error("Microsoft's answer cannot be read.") from error
        if not answer.ok or "access_token" not in body:
            raise OAuth2Error(f"{body.get('error')}: {body.get('error_description')}")
        return dict(body)


class EntraAdapter(OAuth2Adapter):  # type: ignore[misc]
    """Talks to the tenant's endpoints."""

    provider_id = ID
    client_class = EntraClient

    @property
    def authorize_url(self) -> str:
        """The address the browser is sent to."""
        return discovery().endpoint("authorization_endpoint")

    @property
    def access_token_url(self) -> str:
        """The address the code is redeemed at."""
        return discovery().endpoint("token_endpoint")

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        """Return the redirect address: from the settings, never from the Host header."""
        return str(settings.PORTAL_BASE_URL) + reverse("accounts:callback")

    def get_access_token_data(
        self,
        request: HttpRequest,
        app: SocialApp,
        client: OAuth2Client,
        pkce_code_verifier: str | None = None,
    ) -> dict[str, Any]:
        """Redeem the code, with the certificate where there is one."""
        extra = {}
        if microsoft.certificate:
            assertion = client_assertion(
                app.client_id, self.access_token_url, microsoft.certificate, microsoft.private_key
            )
            extra = {"client_assertion_type": TYPE, "client_assertion": assertion}
        code = request.GET["code"]
        data: dict[str, Any] = client.get_access_token(
            code, pkce_code_verifier=pkce_code_verifier, extra_data=extra
        )
        return data

    def complete_login(
        self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: Any
    ) -> SocialLogin:
        """Verify the id token and return who it names."""
        id_token = kwargs["response"].get("id_token")
        if not isinstance(id_token, str):
            raise OAuth2Error("The answer holds no id token.")
        try:
            claims = verify(id_token)
        except Untrusted as error:
            raise OAuth2Error(str(error)) from error
        login: SocialLogin = self.get_provider().sociallogin_from_response(request, claims)
        login.id_token = id_token
        return login


class EntraProvider(OAuth2Provider):  # type: ignore[misc]
    """Microsoft Entra ID, one tenant."""

    id = ID
    name = "Microsoft"
    account_class = ProviderAccount
    oauth2_adapter_class = EntraAdapter
    pkce_enabled_default = True

    def get_default_scope(self) -> list[str]:
        """Return the scopes: what an id token needs and no right in the directory."""
        return list(SCOPES)

    def begin(
        self, request: HttpRequest, next_url: str, *, parameters: dict[str, str], **purpose: str
    ) -> HttpResponse:
        """Send the browser to Microsoft with further `parameters`; afterwards it comes back to `next_url`.

        `purpose` says what the answer is for (see `portal.accounts.views.adapters`); it stays here, in the session.
        """
        nonce = secrets.token_urlsafe(32)
        asked = {"nonce": nonce, "response_mode": "query", **parameters}
        # What is not a parameter of `redirect` is kept with the state, in the session.
        response: HttpResponse = self.redirect(
            request,
            AuthProcess.LOGIN,
            next_url,
            scope=self.get_scope(),
            auth_params=asked,
            nonce=nonce,
            **purpose,
        )
        return response

    def extract_uid(self, data: dict[str, Any]) -> str:
        """Return the identity: never the subject (another one for each application), never an address."""
        return f"{data['tid']}:{data['oid']}"

    def extract_extra_data(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the claims; they live as long as the request."""
        return data


provider_classes = [EntraProvider]

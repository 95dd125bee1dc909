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

from portal.accounts.entra.assertion import TYPE, client_assertion
from portal.accounts.entra.discovery import Untrusted, discovery
from portal.accounts.entra.id_token import verify

ID = "entra"
SCOPES = ["openid", "profile", "email"]


class EntraAdapter(OAuth2Adapter):
    """Talks to the tenant's endpoints."""

    provider_id = ID

    @property
    def authorize_url(self) -> str:
        """The address the browser is sent to."""
        return discovery().endpoint("authorization_endpoint")

    @property
    def access_token_url(self) -> str:  # type: ignore[override]
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
        if settings.ENTRA_CERTIFICATE:
            assertion = client_assertion(
                app.client_id, self.access_token_url, settings.ENTRA_CERTIFICATE, settings.ENTRA_PRIVATE_KEY
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


class EntraProvider(OAuth2Provider):
    """Microsoft Entra ID, one tenant."""

    id = ID
    name = "Microsoft"
    account_class = ProviderAccount
    oauth2_adapter_class = EntraAdapter
    pkce_enabled_default = True

    def get_default_scope(self) -> list[str]:
        """Return the scopes: what an id token needs and no right in the directory."""
        return list(SCOPES)

    def begin(self, request: HttpRequest, next_url: str, *, another: bool) -> HttpResponse:
        """Send the browser to Microsoft; afterwards it comes back to `next_url`.

        `another` makes Microsoft ask for the account even where one is signed in.
        """
        nonce = secrets.token_urlsafe(32)
        parameters = {"nonce": nonce, "response_mode": "query"}
        if another:
            parameters["prompt"] = "select_account"
        # What is not a parameter of `redirect` is kept with the state, in the session.
        response: HttpResponse = self.redirect(
            request, AuthProcess.LOGIN, next_url, scope=self.get_scope(), auth_params=parameters, nonce=nonce
        )
        return response

    def extract_uid(self, data: dict[str, Any]) -> str:
        """Return the identity: never the subject (another one for each application), never an address."""
        return f"{data['tid']}:{data['oid']}"

    def extract_extra_data(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the claims; they live as long as the request."""
        return data


provider_classes = [EntraProvider]

"""The OpenID Connect side: Authlib's server under Entra's addresses."""

import json
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError, OAuth2Request
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants import OpenIDCode
from authlib.oidc.rpinitiated import EndSessionEndpoint
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from flask import g
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey
from joserfc.jws import JWSRegistry

from portal.demo.identity.clients import Client, Code
from portal.demo.identity.directory import Account
from portal.demo.identity.material import TENANT_ID
from portal.demo.identity.state import Identity
from portal.demo.identity.tokens import LIFETIME, base64url, graph_token, id_token_claims, sign

CLIENT_AUTH = ["client_secret_post", "client_secret_basic", "private_key_jwt"]


class Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server for one listener, with the shared state at hand."""

    def __init__(self, identity: Identity, origin: str) -> None:
        super().__init__(query_client=identity.clients.get, save_token=lambda token, request: None)
        self.identity, self.origin = identity, origin
        self.issuer = f"{origin}/{TENANT_ID}/v2.0"
        self.load_config(
            {
                "OAUTH2_ACCESS_TOKEN_GENERATOR": self._access_token,
                "OAUTH2_TOKEN_EXPIRES_IN": {"authorization_code": LIFETIME, "client_credentials": LIFETIME},
            }
        )
        self.register_client_auth_method("private_key_jwt", Assertion(self))
        self.register_grant(CodeGrant, [Challenge(required=True), IdToken(self)])
        self.register_grant(AppGrant)
        self.register_endpoint(EndSession(self))

    def _access_token(self, client: Client, grant_type: str, user: Account | None, scope: str) -> str:
        return graph_token(client, self.identity.keys, self.issuer)

    def discovery(self) -> dict[str, Any]:
        """Return the discovery document."""
        base = f"{self.origin}/{TENANT_ID}"
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "email"],
            "token_endpoint_auth_methods_supported": CLIENT_AUTH,
            "code_challenge_methods_supported": ["S256"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "name", "oid", "tid", "ver"],
            "tenant_region_scope": "EU",
        }


class Challenge(CodeChallenge):  # type: ignore[misc]
    """PKCE, S256 only, and never left out."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        if not data.get("code_challenge") or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("AADSTS9002325: Proof Key for Code Exchange (S256) is required.")
        super().validate_code_challenge(grant, redirect_uri)


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """The authorization code flow."""

    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTH

    def save_authorization_code(self, code: str, request: OAuth2Request) -> Code:
        data, session = request.payload.data, g.standin_session
        saved = Code(
            code,
            request.client.client_id,
            request.payload.redirect_uri,
            request.payload.scope,
            data.get("nonce", ""),
            data.get("code_challenge"),
            data.get("code_challenge_method"),
            request.user.key,
            session.sid,
            session.auth_time,
            session.contexts,
        )
        self.server.identity.codes[code] = saved
        return saved

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found: Code | None = self.server.identity.take_code(code)
        return found if found and found.client_id == client.client_id else None

    def delete_authorization_code(self, authorization_code: Code) -> None:
        """Nothing to do: it was removed when it was presented."""

    def authenticate_user(self, authorization_code: Code) -> Account | None:
        account: Account | None = self.server.identity.directory.people.get(authorization_code.account)
        return account if account and account.enabled else None


class AppGrant(ClientCredentialsGrant):  # type: ignore[misc]
    """App-only tokens for Graph."""

    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTH


class IdToken(OpenIDCode):  # type: ignore[misc]
    """Id tokens with Entra's claims."""

    def __init__(self, server: Server) -> None:
        super().__init__(require_nonce=False)
        self.server = server

    def exists_nonce(self, nonce: str, request: OAuth2Request) -> bool:
        return False  # to remember nonces is the client's part; Entra ID does not

    def encode_id_token(self, token: dict[str, Any], request: OAuth2Request) -> str:
        identity, code = self.server.identity, request.authorization_code
        claims = id_token_claims(
            request.user,
            request.client,
            identity.directory,
            issuer=self.server.issuer,
            origin=self.server.origin,
            code=code,
        )
        return sign(claims, identity.keys, identity.take_distortion())


class AssertionRegistry(JWSRegistry):
    """What is accepted of a client assertion: PS256, and a header that has room for the certificate (x5c)."""

    max_header_length = 16384

    def __init__(self) -> None:
        super().__init__(algorithms=["PS256"])


class Assertion(JWTBearerClientAssertion):  # type: ignore[misc]
    """Client authentication by certificate, as MSAL does it: PS256 and the certificate's SHA-256 thumbprint."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server

    def get_audiences(self) -> list[str]:
        return [f"{self.server.origin}/{TENANT_ID}/oauth2/v2.0/token"]

    def extract_assertion(self, assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            found = jws.extract_compact(assertion.encode(), registry=AssertionRegistry())
            claims = json.loads(found.payload)
        except (JoseError, ValueError) as error:
            raise InvalidClientError(description="AADSTS50027: the assertion is not valid.") from error
        return found.headers(), claims if isinstance(claims, dict) else {}

    def resolve_client_public_key(self, client: Client) -> RSAKey:
        public = self._certificate().public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return RSAKey.import_key(pem)

    def process_assertion_claims(self, assertion: str, resolve_key: RSAKey) -> Any:
        try:
            token = jwt.decode(assertion, resolve_key, registry=AssertionRegistry())
        except JoseError as error:
            raise InvalidClientError(
                description="AADSTS700027: the assertion's signature is not valid."
            ) from error
        thumbprint = base64url(self._certificate().fingerprint(hashes.SHA256()))
        if str(token.header.get("x5t#S256")).rstrip("=") != thumbprint:  # MSAL pads it
            raise InvalidClientError(description="AADSTS700027: the certificate is not registered.")
        self.verify_claims(token.claims)
        return token.claims

    def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
        seen = self.server.identity.assertions
        fresh = jti not in seen
        seen.add(jti)
        return fresh

    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.server.identity.material.client_certificate.read_bytes())


class EndSession(EndSessionEndpoint):  # type: ignore[misc]
    """Sign-out started by the application."""

    def get_server_jwks(self) -> KeySet:
        keys: KeySet = self.server.identity.keys.public()
        return keys

    def get_algorithms(self) -> list[str]:
        return ["RS256"]

    def is_post_logout_redirect_uri_legitimate(self, *args: Any) -> bool:
        return True  # Entra ID asks for no id_token_hint where the address is registered

    def end_session(self, end_session_request: Any) -> None:
        """The view forgets the session: it knows the cookie."""

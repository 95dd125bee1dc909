"""Verification of an id token, and what the portal takes from it."""

import hmac
import uuid
from dataclasses import dataclass
from typing import Any

import jwt

from portal.accounts.conf import microsoft
from portal.accounts.entra.discovery import Untrusted, discovery
from portal.accounts.policy import APP_ROLES, Role

LEEWAY = 60  # seconds that clocks may differ
PERSONAL_ACCOUNTS = uuid.UUID("9188040d-6c67-4c5b-b112-36a304b66dad")  # the tenant of consumer accounts
REQUIRED = ["iss", "aud", "sub", "exp", "iat", "nbf", "nonce", "tid", "oid", "ver"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified id token says. Identity is (tid, oid); name and e-mail address are for reading only."""

    tid: uuid.UUID
    oid: uuid.UUID
    name: str
    email: str
    roles: frozenset[Role]
    groups: frozenset[uuid.UUID] | None  # None: too many for the token, the directory has to be asked
    names_groups: bool  # whether the token says anything about groups; one of somebody in none does not
    is_guest: bool
    sid: str
    login_hint: str


def verify(token: str) -> dict[str, Any]:
    """Return the claims of an id token for this portal; raise Untrusted unless everything holds but the nonce.

    RS256 alone, signed by a key of the tenant, whatever the token's header says (OpenID Connect Core 3.1.3.7).
    The nonce belongs to the browser's session: `holds_nonce` compares it.
    """
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != "RS256":
            raise Untrusted("The token is not signed with RS256.")
        claims: dict[str, Any] = jwt.decode(
            token,
            discovery().key(str(header.get("kid"))),
            algorithms=["RS256"],
            audience=microsoft.client_id,
            issuer=discovery().issuer,
            leeway=LEEWAY,
            options={"require": REQUIRED, "strict_aud": True},
        )
    except jwt.PyJWTError as error:
        raise Untrusted(f"The token is not valid: {error}") from error
    if claims["ver"] != "2.0":
        raise Untrusted("The token is not one of the v2.0 endpoint.")
    return claims


def holds_nonce(claims: dict[str, Any], nonce: object) -> bool:
    """Tell whether the token was made for the sign-in that this browser started."""
    expected, found = nonce, claims.get("nonce")
    return (
        isinstance(expected, str)
        and isinstance(found, str)
        and bool(expected)
        and hmac.compare_digest(expected.encode(), found.encode())
    )


def read(claims: dict[str, Any]) -> Claims:
    """Return what the portal takes from verified claims; raise Untrusted for another tenant or no identity."""
    tid, oid = _guid(claims.get("tid")), _guid(claims.get("oid"))
    if tid is None or oid is None:
        raise Untrusted("The token names no account of an organization.")
    if tid == PERSONAL_ACCOUNTS or str(tid) != microsoft.tenant_id:
        raise Untrusted("The account belongs to another organization.")
    email = _text(claims.get("email") or claims.get("preferred_username"), 320)
    roles = frozenset(APP_ROLES[each] for each in _texts(claims.get("roles")) if each in APP_ROLES)
    return Claims(
        tid=tid,
        oid=oid,
        name=_text(claims.get("name"), 200) or email or str(oid),
        email=email,
        roles=roles,
        groups=_groups(claims),
        names_groups="groups" in claims,
        is_guest=_is_guest(claims),
        sid=_text(claims.get("sid"), 200),
        login_hint=_text(claims.get("login_hint"), 1000),
    )


def _groups(claims: dict[str, Any]) -> frozenset[uuid.UUID] | None:
    names = claims.get("_claim_names")
    if claims.get("hasgroups") or (isinstance(names, dict) and "groups" in names):
        return None
    found = (_guid(each) for each in _texts(claims.get("groups")))
    return frozenset(each for each in found if each is not None)


def _is_guest(claims: dict[str, Any]) -> bool:
    provider = claims.get("idp")
    return str(claims.get("acct", "0")) != "0" or (provider is not None and provider != claims["iss"])


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _text(value: object, longest: int) -> str:
    return value.replace("\x00", "").strip()[:longest] if isinstance(value, str) else ""


def _guid(value: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None

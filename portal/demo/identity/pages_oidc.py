"""The addresses of the sign-in: authorize, token, logout, discovery and keys, and the page to choose a person."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import OAuth2Error, OAuth2Request
from flask import Blueprint, g, redirect, render_template, request
from flask import Response as FlaskResponse
from flask.typing import ResponseReturnValue

from portal.demo.identity.directory import Account
from portal.demo.identity.material import TENANT_ID
from portal.demo.identity.provider import Server
from portal.demo.identity.state import Identity, Session

COOKIE = "standin_session"


def blueprint(identity: Identity, server: Server) -> Blueprint:
    """Return the sign-in side of one listener."""
    pages = Blueprint("sign_in", __name__)
    base = f"/{TENANT_ID}"

    @pages.before_request
    def count() -> ResponseReturnValue | None:
        identity.counters[request.path.removeprefix(base)] += 1
        if "provider" in identity.outages:
            return "The service is unavailable.", 503
        return None

    @pages.get(f"{base}/v2.0/.well-known/openid-configuration")
    def discovery() -> ResponseReturnValue:
        return server.discovery()

    @pages.get(f"{base}/discovery/v2.0/keys")
    def keys() -> ResponseReturnValue:
        return identity.keys.published()

    @pages.post(f"{base}/oauth2/v2.0/token")
    def token() -> ResponseReturnValue:
        answer: FlaskResponse = server.create_token_response()
        return answer

    @pages.route(f"{base}/oauth2/v2.0/authorize", methods=["GET", "POST"])
    def authorize() -> ResponseReturnValue:
        cookie = request.cookies.get(COOKIE, "")
        signed_in = identity.account_of(cookie)
        try:
            grant = server.get_consent_grant(end_user=signed_in)
        except OAuth2Error as error:
            return _refused(server, error)
        if request.method == "POST":
            return _chosen(identity, server, grant)
        is_enough = signed_in is not None and _is_enough(identity.sessions[cookie])
        if signed_in and is_enough and getattr(grant, "prompt", None) not in ("login", "select_account"):
            g.standin_session = identity.sessions[cookie]
            return _answer(server, grant, signed_in)
        if request.args.get("prompt") == "none":
            return _told(
                server, grant, "interaction_required", "AADSTS50058: A silent sign-in is not enough."
            )
        return _choose(identity)

    @pages.route(f"{base}/oauth2/v2.0/logout", methods=["GET", "POST"])
    def logout() -> ResponseReturnValue:
        try:
            validated = server.validate_endpoint_request("end_session")
        except OAuth2Error as error:
            return _error_page(str(error.description or error.error), 400)
        identity.sessions.pop(request.cookies.get(COOKIE, ""), None)
        answer = server.create_endpoint_response("end_session", validated)
        response = answer or FlaskResponse(render_template("signed_out.html"))
        response.delete_cookie(COOKIE)
        return response

    return pages


def _is_enough(session: Session) -> bool:
    """Tell whether a session is as young as max_age asks for, and has the authentication contexts asked for."""
    longest = request.args.get("max_age", "")
    if longest.isdigit() and time.time() - session.auth_time > int(longest):
        return False
    return _contexts_asked() <= session.contexts


def _contexts_asked() -> frozenset[str]:
    """The authentication contexts (acrs) that the claims parameter asks for."""
    try:
        asked = json.loads(request.args.get("claims", "{}"))["id_token"]["acrs"]
    except (ValueError, KeyError, TypeError):
        return frozenset()
    return frozenset(asked.get("values") or [asked["value"]])


def _choose(identity: Identity) -> ResponseReturnValue:
    """The page to choose whom to sign in as; `q` narrows the list."""
    asked = request.args.get("standin_q", "").strip().lower()
    people = identity.directory.home_people()
    found = [each for each in people if asked in f"{each.name} {each.email} {each.department}".lower()]
    foreign = [each for each in identity.directory.people.values() if not each.home]
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != "standin_q"]
    featured = [] if asked else [each for each in identity.directory.people.values() if each.featured]
    return render_template(
        "choose.html",
        organization=identity.directory.organization,
        featured=featured,
        people=[each for each in found if each not in featured],
        foreign=[] if asked else foreign,
        asked=asked,
        kept=kept,
    )


def _chosen(identity: Identity, server: Server, grant: Any) -> ResponseReturnValue:
    account = identity.directory.people.get(request.form.get("account", ""))
    if account is None:
        return _error_page("AADSTS50034: The user account does not exist in the directory.", 400)
    if not account.enabled:
        return _error_page("AADSTS50057: The user account is disabled.", 403)
    if account.sign_in_error:
        return _told(server, grant, "interaction_required", account.sign_in_error)
    cookie, g.standin_session = identity.start_session(account, _contexts_asked())
    response = _answer(server, grant, account)
    response.set_cookie(COOKIE, cookie, httponly=True, samesite="Lax", secure=request.is_secure)
    return response


def _told(server: Server, grant: Any, code: str, text: str) -> ResponseReturnValue:
    """Send an error back to the application."""
    error = OAuth2Error(description=text, redirect_uri=grant.request.payload.redirect_uri)
    error.error = code
    error.state = grant.request.payload.state
    return _refused(server, error)


def _answer(server: Server, grant: Any, account: Account) -> FlaskResponse:
    response: FlaskResponse = server.create_authorization_response(
        grant.request if isinstance(grant.request, OAuth2Request) else None, grant_user=account, grant=grant
    )
    return response


def _refused(server: Server, error: OAuth2Error) -> ResponseReturnValue:
    if getattr(error, "redirect_uri", None):
        answer: FlaskResponse = server.handle_error_response(None, error)
        return answer
    return _error_page(f"AADSTS90014: {error.description or error.error}", 400)


def _error_page(message: str, status: int) -> ResponseReturnValue:
    return render_template("error.html", message=message), status


def portal_origin(identity: Identity) -> str:
    """Return the portal's origin: the only place a form may lead to, besides here."""
    parts = urlsplit(identity.portal_url)
    return f"{parts.scheme}://{parts.netloc}"


def home(identity: Identity) -> Blueprint:
    """Return the front page: it leads to the portal."""
    pages = Blueprint("home", __name__)

    @pages.get("/")
    def front() -> ResponseReturnValue:
        return redirect(identity.portal_url)

    return pages

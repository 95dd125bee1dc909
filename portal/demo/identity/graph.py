"""Microsoft Graph v1.0 as far as the portal reads it."""

from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from joserfc import jwt
from joserfc.errors import JoseError

from portal.demo.identity import delta, odata
from portal.demo.identity.directory import Account, DirectoryGroup
from portal.demo.identity.state import Identity
from portal.demo.identity.tokens import GRAPH_AUDIENCE

NEEDED = {"users": "User.Read.All", "groups": "GroupMember.Read.All"}


def blueprint(identity: Identity, origin: str, issuer: str) -> Blueprint:
    """Return Graph at `origin`, for tokens of `issuer`."""
    graph = Blueprint("graph", __name__, url_prefix="/v1.0")
    base, directory = f"{origin}/v1.0", identity.directory

    @graph.before_request
    def authorize() -> ResponseReturnValue | None:
        identity.counters[request.path] += 1
        if "graph" in identity.outages:
            return odata.error("serviceNotAvailable", "The service is unavailable.", 503)
        try:
            claims = _token_claims(identity, issuer)
        except (JoseError, ValueError) as problem:
            return odata.error("InvalidAuthenticationToken", str(problem) or "Access token is empty.", 401)
        needed = NEEDED.get(request.path.split("/")[2])
        if needed and needed not in claims.get("roles", ()):
            return odata.error(
                "Authorization_RequestDenied", "Insufficient privileges to complete the operation.", 403
            )
        return None

    @graph.get("/users")
    def users() -> ResponseReturnValue:
        return odata.answer([each.as_graph() for each in directory.home_people()], "users", base)

    @graph.get("/users/delta")
    def people_delta() -> ResponseReturnValue:
        return delta.people(directory, base)

    @graph.get("/users/<oid>")
    def user(oid: str) -> ResponseReturnValue:
        account = directory.by_oid(oid)
        return odata.select(account.as_graph()) if account else _absent(oid)

    @graph.post("/users/<oid>/getMemberObjects")
    def member_objects(oid: str) -> ResponseReturnValue:
        account = directory.by_oid(oid)
        if account is None:
            return _absent(oid)
        if not isinstance((request.get_json(silent=True) or {}).get("securityEnabledOnly"), bool):
            return odata.error("Request_BadRequest", "securityEnabledOnly is required.", 400)
        return {"value": [group.oid for group in directory.groups_of(account)]}

    @graph.get("/users/<oid>/memberOf")
    @graph.get("/users/<oid>/transitiveMemberOf")
    def member_of(oid: str) -> ResponseReturnValue:
        account = directory.by_oid(oid)
        if account is None:
            return _absent(oid)
        groups = directory.groups_of(account)
        if request.path.endswith("/memberOf"):
            groups = [group for group in groups if account.key in group.people]
        return odata.answer([_typed(group) for group in groups], "directoryObjects", base)

    @graph.get("/groups")
    def groups() -> ResponseReturnValue:
        rows = sorted(directory.groups.values(), key=lambda each: each.name.lower())
        return odata.answer([each.as_graph() for each in rows], "groups", base)

    @graph.get("/groups/delta")
    def groups_delta() -> ResponseReturnValue:
        return delta.groups(directory, base)

    @graph.get("/groups/<oid>")
    def group(oid: str) -> ResponseReturnValue:
        found = directory.group_by_oid(oid)
        return odata.select(found.as_graph()) if found else _absent(oid)

    @graph.get("/groups/<oid>/<any(members, transitiveMembers):kind>")
    @graph.get("/groups/<oid>/<any(members, transitiveMembers):kind>/microsoft.graph.user")
    @graph.get("/groups/<oid>/<any(members, transitiveMembers):kind>/microsoft.graph.group")
    def members(oid: str, kind: str) -> ResponseReturnValue:
        found = directory.group_by_oid(oid)
        if found is None:
            return _absent(oid)
        rows = [_typed(each) for each in directory.members_of(found, transitive=kind == "transitiveMembers")]
        _, _, cast = request.path.rpartition("/")
        if cast.startswith("microsoft.graph."):
            rows = [row for row in rows if row["@odata.type"] == f"#{cast}"]
        return odata.answer(rows, "directoryObjects", base)

    return graph


def _token_claims(identity: Identity, issuer: str) -> dict[str, Any]:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise ValueError("Access token is empty.")
    claims = jwt.decode(token, identity.keys.public(), algorithms=["RS256"]).claims
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": GRAPH_AUDIENCE},
        exp={"essential": True},
    )
    registry.validate(claims)
    return dict(claims)


def _typed(member: Account | DirectoryGroup) -> odata.Row:
    kind = "user" if isinstance(member, Account) else "group"
    return {"@odata.type": f"#microsoft.graph.{kind}", **member.as_graph()}


def _absent(oid: str) -> ResponseReturnValue:
    message = (
        f"Resource '{oid}' does not exist or one of its queried reference-property objects are not present."
    )
    return odata.error("Request_ResourceNotFound", message, 404)

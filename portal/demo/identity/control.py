"""The hand on the stand-in while it runs, for tests: change people, distort tokens, play an outage."""

import hmac
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from portal.demo.identity.state import Identity
from portal.demo.identity.tokens import Distortion


def blueprint(identity: Identity) -> Blueprint:
    """Return the control endpoint: loopback only, and only with the token in ``<data>/identity/secrets.json``."""
    control = Blueprint("control", __name__, url_prefix="/_control")

    @control.before_request
    def authorize() -> ResponseReturnValue | None:
        offered = request.headers.get("Authorization", "").removeprefix("Bearer ")
        local = request.remote_addr in ("127.0.0.1", "::1")
        if not local or not hmac.compare_digest(offered.encode(), identity.material.control_token.encode()):
            return {"error": "not allowed"}, 403
        return None

    @control.get("/people/<key>")
    def person(key: str) -> ResponseReturnValue:
        account = identity.directory.people.get(key)
        if account is None:
            return {"error": "nobody has this key"}, 404
        groups = [group.oid for group in identity.directory.groups_of(account)]
        return account.as_graph() | {"tid": account.tenant, "roles": account.roles, "groups": groups}

    @control.put("/people/<key>")
    def add(key: str) -> ResponseReturnValue:
        return identity.directory.add(_body() | {"key": key}).as_graph(), 201

    @control.patch("/people/<key>")
    def change(key: str) -> ResponseReturnValue:
        try:
            return identity.directory.change(key, _body()).as_graph()
        except KeyError as unknown:
            return {"error": f"unknown: {unknown}"}, 404

    @control.delete("/people/<key>")
    def remove(key: str) -> ResponseReturnValue:
        identity.directory.remove(key)
        return "", 204

    @control.get("/groups/<key>")
    def group(key: str) -> ResponseReturnValue:
        found = identity.directory.groups.get(key)
        return found.as_graph() if found else ({"error": "no group has this key"}, 404)

    @control.patch("/groups/<key>")
    def nest(key: str) -> ResponseReturnValue:
        identity.directory.nest(key, _body()["nested"])
        return "", 204

    @control.delete("/groups/<key>")
    def remove_group(key: str) -> ResponseReturnValue:
        identity.directory.remove_group(key)
        return "", 204

    @control.post("/forget-changes")
    def forget_changes() -> ResponseReturnValue:
        identity.directory.forget_changes()
        return "", 204

    @control.post("/next-token")
    def distort() -> ResponseReturnValue:
        identity.distortion = Distortion(**_body())
        return "", 204

    @control.put("/outages")
    def outages() -> ResponseReturnValue:
        identity.outages = set(_body()["down"])
        return "", 204

    @control.post("/rotate-keys")
    def rotate() -> ResponseReturnValue:
        identity.keys.rotate()
        return "", 204

    @control.get("/counters")
    def counters() -> ResponseReturnValue:
        return dict(identity.counters)

    @control.post("/reset")
    def reset() -> ResponseReturnValue:
        identity.reset()
        return "", 204

    return control


def _body() -> dict[str, Any]:
    return dict(request.get_json(force=True))

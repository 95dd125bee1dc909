"""Graph's delta queries over people and groups."""

from flask import request
from flask.typing import ResponseReturnValue

from portal.demo.identity import odata
from portal.demo.identity.directory import Change, Directory

FORGOTTEN = ("syncStateNotFound", "The sync state generation is not found.", 410)


def people(directory: Directory, base: str) -> ResponseReturnValue:
    """People changed since the $deltatoken, or all of them; an unknown token asks for a new start, as Graph does."""
    with directory.lock:
        changes = _since(directory)
        link = _link(directory, base, "users")
        if changes is None:
            return odata.error(*FORGOTTEN)
        if "$deltatoken" not in request.args:
            return odata.answer([each.as_graph() for each in directory.home_people()], "users", base, link)
        rows: list[odata.Row] = []
        for oid in dict.fromkeys(each.oid for each in changes if each.kind == "person"):
            account = directory.by_oid(oid)
            if account:
                rows.append(account.as_graph())
            elif oid in directory.removed:
                rows.append({"id": oid, "@removed": {"reason": "changed"}})
    return {"@odata.context": f"{base}/$metadata#users", "value": rows, **link}


def groups(directory: Directory, base: str) -> ResponseReturnValue:
    """Groups changed since the $deltatoken, with who came and went (``members@delta``)."""
    with directory.lock:
        changes = _since(directory)
        link = _link(directory, base, "groups")
        if changes is None:
            return odata.error(*FORGOTTEN)
        context = {"@odata.context": f"{base}/$metadata#groups"}
        if "$deltatoken" not in request.args:
            rows = [each.as_graph() for each in sorted(directory.groups.values(), key=lambda each: each.key)]
            return odata.answer(rows, "groups", base, link)
        found: dict[str, odata.Row] = {}
        for change in (each for each in changes if each.kind == "group"):
            group = directory.group_by_oid(change.oid)
            if group is None:
                found[change.oid] = {"id": change.oid, "@removed": {"reason": "deleted"}}
                continue
            row = found.setdefault(change.oid, group.as_graph())
            if change.member:
                member = {"@odata.type": "#microsoft.graph.user", "id": change.member}
                row.setdefault("members@delta", []).append(
                    member | ({"@removed": {"reason": "deleted"}} if change.is_removal else {})
                )
    return {**context, "value": list(found.values()), **link}


def _since(directory: Directory) -> list[Change] | None:
    """The changes the query asks for; None for a token that is not known."""
    since = request.args.get("$deltatoken", "latest")
    if since == "latest":
        return []
    epoch, _, number = since.partition(".")
    if epoch != directory.epoch or not number.isdigit() or int(number) > len(directory.changes):
        return None
    return directory.changes[int(number) :]


def _link(directory: Directory, base: str, kind: str) -> odata.Row:
    now = f"{directory.epoch}.{len(directory.changes)}"
    return {"@odata.deltaLink": f"{base}/{kind}/delta?$deltatoken={now}"}

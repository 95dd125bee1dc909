"""What has changed in the directory, by Microsoft Graph's delta queries.

https://learn.microsoft.com/graph/delta-query-overview: a first reading gives everything, page by page, and a link;
the link gives what changed since, and the next link. Links are kept by the caller; StartAgain means: without one.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from portal.accounts import graph
from portal.accounts.graph import PERSON_FIELDS, DirectoryPerson


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """One page: who is there now, who is gone, and the link to go on with; the last page's is for next time."""

    people: list[DirectoryPerson]
    gone: frozenset[UUID]
    link: str
    is_last: bool


@dataclass(frozen=True, slots=True)
class GroupChanges:
    """Groups of which anything changed, and people taken out of any of them."""

    groups: frozenset[UUID] = frozenset()
    taken_out: frozenset[UUID] = frozenset()
    link: str = field(default="")


def people_page(link: str = "") -> PeoplePage:
    """Return the page at `link`, or the first of everybody; raise StartAgain when Graph has forgotten the link."""
    answer = (
        graph.call("GET", graph.own_link(link))
        if link
        else graph.get("/users/delta", {"$select": PERSON_FIELDS})
    )
    people: dict[UUID, DirectoryPerson] = {}
    gone: set[UUID] = set()
    for row in answer["value"]:
        oid = UUID(row["id"])
        # Graph need not repeat what has not changed, so a row may lack what decides: then the person is read.
        is_whole = "accountEnabled" in row and row.get("displayName")
        found = None
        if "@removed" not in row:
            found = graph.person_of_row(row) if is_whole else graph.person(oid)
        if found is None:
            gone.add(oid)
            people.pop(oid, None)
        else:
            people[oid] = found
            gone.discard(oid)
    return PeoplePage(list(people.values()), frozenset(gone), *_link(answer))


def groups_from_now() -> str:
    """Return the link from which changes of groups count, without reading what there is."""
    answer = graph.get("/groups/delta", {"$select": "id,members", "$deltatoken": "latest"})
    while "@odata.deltaLink" not in answer:
        answer = graph.call("GET", graph.own_link(answer["@odata.nextLink"]))
    return str(answer["@odata.deltaLink"])


def changed_groups(link: str) -> GroupChanges:
    """Return the groups that changed since `link`; raise StartAgain when Graph has forgotten it."""
    groups: set[UUID] = set()
    taken_out: set[UUID] = set()
    while True:
        answer = graph.call("GET", graph.own_link(link))
        for row in answer["value"]:
            groups.add(UUID(row["id"]))
            for member in row.get("members@delta", ()):
                if "@removed" in member:
                    taken_out.add(UUID(member["id"]))
        link, is_last = _link(answer)
        if is_last:
            return GroupChanges(frozenset(groups), frozenset(taken_out), link)


def nested_groups(oid: UUID) -> list[UUID]:
    """Return the ids of all groups inside a group, however deep."""
    path = f"/groups/{oid}/transitiveMembers/microsoft.graph.group"
    answer = graph.get(path, {"$select": "id", "$count": "true", "$top": "999"}, may_be_absent=True)
    found: list[UUID] = []
    while answer:
        found += [UUID(row["id"]) for row in answer["value"]]
        link = answer.get("@odata.nextLink")
        answer = graph.call("GET", graph.own_link(link)) if link else None
    return found


def _link(answer: dict[str, Any]) -> tuple[str, bool]:
    """Return the link to go on with, and whether the reading is complete."""
    if "@odata.nextLink" in answer:
        return str(answer["@odata.nextLink"]), False
    return str(answer["@odata.deltaLink"]), True

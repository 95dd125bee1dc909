"""Read the members of the groups of Entra ID from the directory."""

from collections.abc import Callable
from uuid import UUID

from audit.actors import Actor
from groups.models import Group
from groups.services import note_missing, set_members
from portal.accounts import graph
from portal.accounts.conf import microsoft
from portal.accounts.models import Person
from portal.accounts.services import person_in_directory


def look_up(
    group: Group, *, actor: Actor, before_leaving: Callable[[set[int]], None] = lambda people: None
) -> bool:
    """Read the members of one group, nested ones included; return whether they changed.

    Raises Unavailable when the directory does not answer; a group that it no longer has is flagged, not emptied.
    Whoever is disabled stays a member, if known: an account that is enabled again finds everything as it was.
    `before_leaving` is told who leaves the group, before they do.
    """
    if group.entra_id is None:
        return False
    try:
        listed = list(graph.members_of_group(group.entra_id))
    except LookupError:
        note_missing(group=group, actor=actor)
        return False
    tid = UUID(microsoft.tenant_id)
    oids = [found.oid for found in listed]
    known = {person.oid: person for person in Person.objects.filter(tid=tid, oid__in=oids)}
    people = [
        known.get(found.oid) or person_in_directory(found=found, actor=actor)
        for found in listed
        if found.is_enabled or found.oid in known
    ]
    leaving = set(group.members.values_list("person", flat=True)) - {person.pk for person in people}
    if leaving:
        before_leaving(leaving)
    return set_members(group=group, people=people, actor=actor)

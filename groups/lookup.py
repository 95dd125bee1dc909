"""Read the members of the groups of Entra ID from the directory."""

from uuid import UUID

from audit.actors import Actor
from groups.models import Group
from groups.services import note_missing, set_members
from portal.accounts import graph
from portal.accounts.conf import microsoft
from portal.accounts.models import Person
from portal.accounts.services import person_in_directory


def look_up(group: Group, *, actor: Actor) -> bool:
    """Read the members of one group, nested ones included; return whether they changed.

    Raises Unavailable when the directory does not answer; a group that it no longer has is flagged, not emptied.
    """
    if group.entra_id is None:
        return False
    try:
        listed = [found for found in graph.members_of_group(group.entra_id) if found.is_enabled]
    except LookupError:
        note_missing(group=group, actor=actor)
        return False
    tid = UUID(microsoft.tenant_id)
    known = {
        person.oid: person
        for person in Person.objects.filter(tid=tid, oid__in=[found.oid for found in listed])
    }
    people = [known.get(found.oid) or person_in_directory(found=found, actor=actor) for found in listed]
    return set_members(group=group, people=people, actor=actor)

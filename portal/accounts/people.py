"""Who an address or object id given to a command or a form names, by the directory's word."""

from uuid import UUID

from audit.actors import Actor
from portal.accounts import graph, services
from portal.accounts.graph import DirectoryPerson, DirectoryUnavailable
from portal.accounts.models import Person
from portal.accounts.selectors import known_by_address
from portal.lib.errors import RuleBroken


def person_by_address(*, email: str, oid: str = "", actor: Actor) -> Person:
    """Return the person an address names in the directory; with `oid`, the one with that object id.

    Raise RuleBroken when nobody or more than one has the address, DirectoryUnavailable when the directory is silent.
    An object id is enough by itself: the first administrator is named before the portal may read the directory.
    """
    return services.person_in_directory(found=_found(email, oid), actor=actor)


def known_person(*, email: str, oid: str = "") -> Person:
    """Return somebody the portal knows, to take something away from them.

    The directory is asked first. Where it is silent or has forgotten the person, the address shown here is enough,
    provided it is shown for one person only: access can be taken from somebody who has left.
    """
    try:
        found = _found(email, oid)
    except (RuleBroken, DirectoryUnavailable):
        shown = known_by_address(email)
        if len(shown) != 1:
            raise
        return shown[0]
    person = Person.objects.filter(oid=found.oid).first()
    if person is None:
        raise RuleBroken(f"The portal does not know {found.name}.", field="email")
    return person


def _found(email: str, oid: str) -> DirectoryPerson:
    if not oid:
        return graph.person_by_mail(email)
    try:
        identity = UUID(oid)
    except ValueError:
        raise RuleBroken(f"{oid} is not an object id. It looks like a UUID.", field="oid") from None
    try:
        found = graph.person(identity)
    except DirectoryUnavailable:
        found = None
    return found or DirectoryPerson(identity, email, email)

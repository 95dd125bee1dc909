"""The gate of single calls: those of the projects one looks after, and one's own."""

from django.http import Http404, HttpRequest

from audit.actors import Target
from portal.accounts.access import can, person_of, refuse_unless
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.calls.selectors import keys_of
from portal.spend.calls import Call, call_of
from projects.access import projects_with


def sees(person: Person, project: int, whose: int | None) -> bool:
    """Tell whether the person sees calls of a project that somebody (None: nobody in particular) made."""
    if can(person, Right.SEE_CALLS, everywhere=True):
        return True
    if projects_with(person, Right.SEE_CALLS).filter(pk=project).exists():
        return True
    own = projects_with(person, Right.SEE_CALLS, own=True).filter(pk=project)
    return whose == person.pk and own.exists()


def calls_found(person: Person, text: str, gateway: str = "") -> list[Call]:
    """Return the calls under a request id or a reservation id that the person sees, the latest first."""
    calls = [call for key in keys_of(text, gateway) if (call := call_of(key)) is not None]
    seen = [call for call in calls if sees(person, call.entry.project, call.entry.person)]
    return sorted(seen, key=lambda call: call.entry.moment, reverse=True)


def get_call(request: HttpRequest, *, need: Right) -> Call:
    """Return the call that the address names: 404 where there is none for the person, 403 without the right."""
    person, given = person_of(request), request.GET
    calls = calls_found(person, given.get("id", ""), given.get("gateway", ""))
    if len(calls) != 1 or not given.get("gateway"):
        raise Http404
    target = Target("usage", str(calls[0].entry.id), f"request {calls[0].entry.request_id}")
    refuse_unless(can(person, need, everywhere=True), request, need, target)
    return calls[0]

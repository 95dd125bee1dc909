"""The gate of single calls: those that portal.calls.selectors lets the person see."""

from django.http import Http404, HttpRequest

from audit.actors import Target
from portal.accounts.access import can, person_of, refuse_unless
from portal.accounts.policy import Right
from portal.calls.selectors import calls_found
from portal.spend.calls import Call


def get_call(request: HttpRequest, *, need: Right) -> Call:
    """Return the call that the address names: 404 where there is none for the person, 403 without the right."""
    person, given = person_of(request), request.GET
    calls = calls_found(person, given.get("id", ""), given.get("gateway", ""))
    if len(calls) != 1 or not given.get("gateway"):
        raise Http404
    target = Target("usage", str(calls[0].entry.id), f"request {calls[0].entry.request_id}")
    refuse_unless(can(person, need, everywhere=True), request, need, target)
    return calls[0]

"""The search in the directory, for the pickers."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from portal.accounts.access import require
from portal.accounts.pickers import FIELD_NAME, MOST_CHOSEN, GroupPicker, PersonPicker, Picker
from portal.accounts.policy import Right


@require_GET
@require(Right.MANAGE_MEMBERS)
def find_people(request: HttpRequest) -> HttpResponse:
    """Answer with people whose name or address begins like the search."""
    return _answer(request, PersonPicker)


@require_GET
@require(Right.MANAGE_GROUPS)
def find_groups(request: HttpRequest) -> HttpResponse:
    """Answer with Entra ID groups whose name begins like the search."""
    return _answer(request, GroupPicker)


def _answer(request: HttpRequest, kind: type[Picker]) -> HttpResponse:
    """The lines of a picker for the form field `field`, or JSON when that is asked for."""
    name = request.GET.get("field", "person")
    name = name if FIELD_NAME.fullmatch(name) else "person"
    query = request.GET.get(f"{name}_q") or request.GET.get("q", "")
    picker = kind(several=request.GET.get("several") == "1")
    context = picker.context(name, request.GET.getlist(name)[:MOST_CHOSEN], query[:100])
    results = context["results"]
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        rows = [{"id": each.oid, "name": each.label, "detail": each.detail} for each in results.options]
        body = {"error": results.problem} if results.problem else {"results": rows}
        return JsonResponse(body, status=503 if results.problem else 200)
    return render(request, "accounts/_picker_results.html", context | {"id": f"id_{name}"})

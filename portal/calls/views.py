"""Find a call, see everything that was booked for it, correct it."""

from dataclasses import fields as fields_of
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.calls.access import get_call
from portal.calls.forms import CallFilters, CorrectForm, VoidForm
from portal.calls.selectors import Told, calls_found, moment_of, sees, told
from portal.decision import reservation
from portal.decision.corrections import correct_usage, outcome, void_usage
from portal.gateway.models import Gateway
from portal.lib.errors import RuleBroken
from portal.spend.calls import Call
from portal.spend.inbox import Entry, Totals
from portal.web.forms import posted
from portal.web.htmx import render_dialog, saved
from projects.models import Project

_NAMES = tuple(field.name for field in fields_of(Totals))
_LABELS = ("Calls", "Input", "Cached input", "Cache write", "Output", "Reasoning", "Spend")


@require_GET
@require(Right.SEE_CALLS)
def find_call(request: HttpRequest) -> HttpResponse:
    """Show the calls under an id that the person sees."""
    person = person_of(request)
    gateways = list(Gateway.objects.order_by("name").values_list("key_id", "name"))
    filters = CallFilters(request.GET, gateways=gateways)
    text = filters.value("q")
    found = calls_found(person, text, filters.value("gateway")) if text else []
    held = reservation.decode(text) if text and not found else None
    context = {
        "filters": filters,
        "text": text,
        "found": [told(call) for call in found],
        "held": held if held and sees(person, held.project, held.person or None) else None,
        "may_correct": can(person, Right.CORRECT_USAGE, everywhere=True),
    }
    if context["held"] and held:
        context["held_since"] = moment_of(held)
        context["held_project"] = Project.objects.filter(pk=held.project).first()
    return render(request, "calls/find.html", context)


@require_http_methods(["GET", "POST"])
@require(Right.CORRECT_USAGE)
def correct(request: HttpRequest) -> HttpResponse:
    """Make a call come to what it really used; first the difference is shown, then it is booked."""
    call, entry = _booked(request)
    shown = told(call)
    form = CorrectForm(posted(request), totals=call.totals)
    context: dict[str, Any] = {"form": form, "told": shown, "back": _back(shown)}
    if form.is_valid():
        try:
            after = outcome(entry, form.used, form.amount_entered)
            difference = tuple(getattr(after, name) - getattr(call.totals, name) for name in _NAMES)
            if not any(difference):
                raise RuleBroken("This is what the call comes to already.")
            context["difference"] = _in_rows(call.totals, after)
            if form.is_reviewed(difference):
                correct_usage(
                    entry_id=entry.id,
                    moment=entry.moment,
                    used=form.used,
                    amount=form.amount_entered,
                    reason=form.cleaned_data["reason"],
                    actor=actor_of(request),
                    seen=form.seen,
                )
                return saved(request, to=_back(shown), toast="Call corrected")
        except RuleBroken as broken:
            form.add_broken_rule(broken)
    return render(request, "calls/correct.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@require(Right.CORRECT_USAGE)
def void(request: HttpRequest) -> HttpResponse:
    """Make a call come to nothing, after saying what that changes."""
    call, entry = _booked(request)
    shown = told(call)
    form = VoidForm(posted(request), totals=call.totals)
    if form.is_valid():
        try:
            void_usage(
                entry_id=entry.id,
                moment=entry.moment,
                reason=form.cleaned_data["reason"],
                actor=actor_of(request),
                seen=form.seen,
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=_back(shown), toast="Call voided")
    return render_dialog(
        request,
        "calls/void_dialog.html",
        {"form": form, "told": shown},
        title="Void this call?",
        back=_back(shown),
        status=422 if form.errors else 200,
    )


def _booked(request: HttpRequest) -> tuple[Call, Entry]:
    """Return the call and the row that reports it, or the estimate that stands for a report."""
    call = get_call(request, need=Right.CORRECT_USAGE)
    if call.corrigible is None:
        raise Http404("Nothing is booked for this call.")
    return call, call.corrigible


def _back(shown: Told) -> str:
    return f"{reverse('calls:find')}?{shown.search}"


def _in_rows(before: Totals, after: Totals) -> list[dict[str, Any]]:
    rows = zip(_NAMES, _LABELS, strict=True)
    return [
        {
            "label": label,
            "is_money": name == "spend",
            "before": getattr(before, name),
            "after": getattr(after, name),
            "change": getattr(after, name) - getattr(before, name),
        }
        for name, label in rows
        if getattr(before, name) != getattr(after, name)
    ]

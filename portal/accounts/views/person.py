"""The page of one person, and everybody's own account."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts import services, signing_out, viewing
from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of, session_mark
from portal.accounts.forms import ReasonForm
from portal.accounts.models import Person
from portal.accounts.pages import profile
from portal.accounts.policy import Right
from portal.directory.selectors import left_behind
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.spend import scopes
from portal.spend import selectors as spend
from portal.web.forms import posted
from portal.web.htmx import render_dialog


@require_GET
@require(Right.SEE_PEOPLE)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show where a person's rights come from, what they hold and spend, and what they leave."""
    person, viewer = get_object_or_404(Person, pk=pk), person_of(request)
    context = _standing(person) | {
        "person": person,
        "sources": profile.sources_of(person),
        "groups": profile.groups_of(person),
        "tokens": profile.tokens_of(person),
        "keys": profile.keys_of(person),
        "sessions": profile.sessions_of(person, current=session_mark(request)),
        "left": left_behind(person) if not person.is_active else None,
        "may_manage": can(viewer, Right.MANAGE_ACCESS) and viewer.pk != person.pk,
        "is_own": viewer.pk == person.pk,
        "most": profile.MOST,
    }
    return render(request, "accounts/person.html", context)


def _standing(person: Person) -> dict[str, Any]:
    """Return the person's spend and limits, over all projects."""
    calendar = spend.calendar(current_organization().zone)
    key = scopes.user(person.pk)
    each = scopes.EACH_USER
    limits = spend.limits_on([key, each])
    day, month = spend.spend_limits([key]).get(key, (None, None))
    every_day, every_month = spend.spend_limits([each]).get(each, (None, None))
    return {
        "spent": spend.today_and_month([key], calendar).get(key, spend.NOTHING),
        "day_limit": every_day if day is None else day,
        "month_limit": every_month if month is None else month,
        "limits": [*limits.get(key, []), *limits.get(each, [])],
        "own_key": key,
    }


@require_POST
@require(Right.MANAGE_ACCESS)
def end_session(request: HttpRequest, pk: int, mark: str) -> HttpResponseRedirect:
    """End one session of somebody."""
    person = get_object_or_404(Person, pk=pk)
    services.end_session(person=person, mark=mark, actor=actor_of(request))
    messages.success(request, "The session has ended")
    return redirect("accounts:person", pk=pk)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ACCESS)
def view_as(request: HttpRequest, pk: int) -> HttpResponse:
    """Begin to look at the portal as somebody else sees it."""
    person, form = get_object_or_404(Person, pk=pk), ReasonForm(posted(request))
    form.fields["reason"].required = True
    if form.is_valid():
        try:
            viewing.start(request, person, reason=form.cleaned_data["reason"])
        except RuleBroken as broken:
            form.add_error(broken.field, broken.message)
        else:
            return redirect(viewing.home())
    return render_dialog(
        request,
        "accounts/view_as.html",
        {"form": form, "person": person, "minutes": viewing.LASTS // 60},
        title=f"Look as {person}?",
        back=reverse("accounts:person", args=[pk]),
        status=422 if form.errors else 200,
    )


@require_POST
def stop_viewing(request: HttpRequest) -> HttpResponseRedirect:
    """Show one's own pages again."""
    pk = viewing.stop(request)
    return redirect("accounts:person", pk=pk) if pk else HttpResponseRedirect(viewing.home())


@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """Show the person who asks their own rights and sessions."""
    person = person_of(request)
    context = {
        "person": person,
        "sources": profile.sources_of(person),
        "sessions": profile.sessions_of(person, current=session_mark(request)),
        "is_own": True,
    }
    return render(request, "accounts/account.html", context)


@require_POST
def end_own_session(request: HttpRequest, mark: str) -> HttpResponseRedirect:
    """End one of one's own sessions."""
    services.end_session(person=person_of(request), mark=mark, actor=actor_of(request))
    messages.success(request, "The session has ended")
    return HttpResponseRedirect(reverse("accounts:account"))


@require_POST
def end_others(request: HttpRequest) -> HttpResponseRedirect:
    """End all of one's own sessions but this one."""
    signing_out.end_other_sessions(
        person=person_of(request), mark=session_mark(request), actor=actor_of(request)
    )
    messages.success(request, "Every other session has ended")
    return HttpResponseRedirect(reverse("accounts:account"))

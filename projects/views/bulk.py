"""Changing many projects at once: what it would do to each, then the change and its result."""

from typing import Any

from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from groups.access import groups_with
from portal.accounts.access import person_of, refuse_unless, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.approvals.selectors import policy
from portal.lib.money import currency_sign
from portal.organization.selectors import current as current_organization
from portal.web.htmx import render_page_or_region, saved
from projects import standing
from projects.access import BULK_RIGHTS, bulk_changes_of, projects_with
from projects.bulk import MOST, Change, Line, What, carry_out, plan
from projects.envelopes import warnings_about
from projects.forms import BulkForm
from projects.listing import standings
from projects.models import Project, ProjectQuerySet
from projects.views.listing import filters_of, found_by

_SALT = "projects.bulk"
_HOUR = 3600
_DRAWN = 200
DONE = {
    What.PAUSE: "paused",
    What.RESUME: "resumed",
    What.MOVE: "moved",
    What.LIMITS: "given the limits",
}


@require_http_methods(["GET", "POST"])
@require(Right.EDIT_PROJECT)
def change(request: HttpRequest) -> HttpResponse:
    """Show what a change would do to each selected project; carry out what was shown."""
    if request.method == "POST":
        return _carry_out(request)
    what = _what(request, request.GET.get("do", ""))
    person, currency = person_of(request), current_organization().currency
    projects, matching, is_all = _selected(request)
    is_asked = bool({"preview", "to", "daily", "monthly"} & set(request.GET))
    form = BulkForm(request.GET if is_asked else None, what=what, person=person)
    data = form.cleaned_data if form.is_valid() else {}
    wanted = Change(what, data.get("to"), data.get("daily"), data.get("monthly"))
    found = projects.select_related("group").order_by("name", "pk")[: MOST + 1]
    lines, warnings = plan(
        found,
        wanted,
        may=_allowed(request, what, projects),
        governs=_with(request, Right.SET_LIMITS, projects),
        most_raise=policy().most_raise,
        currency=currency,
    )
    is_too_many = len(lines) > MOST
    able = [line for line in lines if not line.problem]
    context = {
        "what": what,
        "form": form if form.fields else None,
        "is_asked": is_asked,
        "sign": currency_sign(currency),
        "carried": _carried(request),
        "lines": [] if is_too_many else lines[:_DRAWN],
        "number": projects.count() if is_too_many else len(lines),
        "able": len(able),
        "warnings": [] if is_too_many else warnings,
        "matching": matching,
        "is_all": is_all,
        "is_too_many": is_too_many,
        "most": MOST,
        "plan": _signed(request, wanted, able) if wanted.is_complete and able and not is_too_many else "",
    }
    return render_page_or_region(request, "projects/bulk.html", "projects/_bulk_plan.html", context)


def _what(request: HttpRequest, name: str) -> What:
    if name not in What.values:
        raise Http404
    what = What(name)
    refuse_unless(what in bulk_changes_of(person_of(request)), request, BULK_RIGHTS[what])
    return what


def _selected(request: HttpRequest) -> tuple[ProjectQuerySet, int, bool]:
    """Return the projects selected, how many match the filter, and whether those are the selection."""
    visible, query = projects_with(person_of(request)), request.GET
    standing.catch_up()
    found = found_by(filters_of(request, query), standings(visible))
    if is_all := bool(query.get("all")):
        return Project.objects.filter(pk__in=found.select_related(None).values("pk")), found.count(), is_all
    return visible.filter(code__in=query.getlist("p")), found.count(), is_all


def _allowed(request: HttpRequest, what: What, projects: ProjectQuerySet) -> set[int]:
    return _with(request, BULK_RIGHTS[what], projects)


def _with(request: HttpRequest, right: Right, projects: ProjectQuerySet) -> set[int]:
    able = projects_with(person_of(request), right)
    return set(able.filter(pk__in=projects.order_by().values("pk")).values_list("pk", flat=True)[: MOST + 1])


def _carried(request: HttpRequest) -> list[tuple[str, str]]:
    """Return what the form of the values must send along: the selection, or the filter."""
    kept = ("do", "p", "all", "q", "group", "owner", "state", "tag")
    return [(name, value) for name in kept for value in request.GET.getlist(name) if value]


def _signed(request: HttpRequest, wanted: Change, able: list[Line]) -> str:
    shown = {
        "by": person_of(request).pk,
        "what": wanted.what,
        "to": wanted.group.code if wanted.group else "",
        "amounts": [None if each is None else str(each) for each in (wanted.daily, wanted.monthly)],
        "lines": [[line.pk, line.seen] for line in able],
    }
    return signing.dumps(shown, salt=_SALT, compress=True)


def _carry_out(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    try:
        shown: dict[str, Any] = signing.loads(request.POST.get("plan", ""), salt=_SALT, max_age=_HOUR)
    except signing.BadSignature:
        return HttpResponseBadRequest("This preview is too old. Go back and look at it again.")
    refuse_unless(shown["by"] == person.pk, request, Right.EDIT_PROJECT)
    what = _what(request, shown["what"])
    group = None
    if (
        shown["to"]
        and (group := groups_with(person, Right.CREATE_PROJECT).filter(code=shown["to"]).first()) is None
    ):
        raise Http404
    daily, monthly = (None if each is None else int(each) for each in shown["amounts"])
    seen = [(pk, read) for pk, read in shown["lines"]]
    projects = Project.objects.filter(pk__in=[pk for pk, _ in seen])
    governs = _with(request, Right.SET_LIMITS, projects)
    done, failures = carry_out(
        seen,
        Change(what, group, daily, monthly),
        may=_allowed(request, what, projects),
        governs=governs,
        most_raise=policy().most_raise,
        actor=actor_of(request),
        reason=request.POST.get("reason", "").strip()[:300],
    )
    words = f"{done:,} project{'' if done == 1 else 's'} {DONE[what]}"
    warnings = (
        warnings_about([pk for pk, _ in seen if pk in governs]) if what in (What.MOVE, What.LIMITS) else []
    )
    if not failures:
        return saved(request, to=reverse("projects:list"), toast=". ".join([words, *warnings]))
    context = {"words": words, "done": done, "failures": failures, "warnings": warnings}
    return render(request, "projects/bulk_result.html", context)

"""Settings → Roles: the policy table as it is in force, and what needs a second person."""

from collections import defaultdict

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.conf import microsoft
from portal.accounts.policy import STEP_UP, TOXIC, Reach, Right, Role, matrix
from portal.accounts.step_up import Guarded
from portal.approvals import services
from portal.approvals.forms import PolicyForm
from portal.approvals.selectors import policy as policy_now
from portal.lib.errors import RuleBroken
from portal.organization.pages import tabs
from portal.web.forms import posted
from portal.web.htmx import render_dialog, saved

REACH = {
    Reach.NONE: "",
    Reach.OWN: "own",
    Reach.PROJECT: "own projects",
    Reach.GROUP: "own groups",
    Reach.ALL: "all",
}


def words(right: Right) -> str:
    """Return a right as people read it."""
    return right.value.replace("_", " ").capitalize().replace("api", "API")


@require_GET
@require(Right.SEE_SETTINGS)
def table(request: HttpRequest) -> HttpResponse:
    """Show the table of rights and roles that the code itself reads."""
    again: dict[str, list[str]] = defaultdict(list)
    for address, kind in STEP_UP.items():
        again[Guarded(kind).label].append(address)
    context = {
        "tabs": tabs(request, "roles"),
        "roles": list(Role),
        "rows": [(words(right), right, [REACH[row[role]] for role in Role]) for right, row in matrix()],
        "toxic": sorted(" and ".join(sorted(role.label for role in pair)) for pair in TOXIC),
        "again": sorted(again),
        "policy": policy_now(),
        "allows_guests": microsoft.allow_guests,
        "may_change": can(person_of(request), Right.MANAGE_ORGANIZATION),
    }
    return render(request, "approvals/roles.html", context)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ORGANIZATION)
def policy(request: HttpRequest) -> HttpResponse:
    """Change what needs a second person."""
    back, now = reverse("roles:table"), policy_now()
    form = PolicyForm(posted(request), policy=now)
    if form.is_valid():
        values = dict(form.cleaned_data)
        try:
            services.set_policy(
                seen=values.pop("seen"), reason=values.pop("reason"), actor=actor_of(request), **values
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
            form.look_again(policy_now())
        else:
            return saved(request, to=back, toast="Saved what needs a second person")
    return render_dialog(
        request,
        "approvals/policy_dialog.html",
        {"form": form},
        title="What needs a second person?",
        back=back,
        status=422 if form.errors else 200,
    )

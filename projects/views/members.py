"""The people of a project, and the groups that have access to it."""

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from audit.services import record_list_export
from groups.models import Group
from portal.accounts.access import person_of, refuse_unless, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.accounts.services import person_in_directory
from portal.lib.errors import RuleBroken
from portal.lib.money import from_nano
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_dialog, render_page_or_region, saved
from portal.web.pagination import Page, page_of
from projects import roles, services
from projects.access import get_project, rights_in
from projects.forms import GroupAccessForm, MemberForm, ReasonForm
from projects.models import Membership
from projects.pages import clock, page_context
from projects.selectors import member_rows, memberships_of

REGION = "member-table"
HEADS = (
    "Name",
    "Address",
    "Role",
    "Since",
    "Today",
    "This month",
    "Daily limit",
    "Monthly limit",
    "User tokens",
)


@require_GET
@require(Right.SEE_PROJECTS)
def members(request: HttpRequest, code: str) -> HttpResponse:
    """Show owners, members and groups with access."""
    project = get_project(request, code)
    context = page_context(request, project, "members")
    page: Page[Membership] = page_of(
        memberships_of(project), order=("-role", "person__name"), cursor=request.GET.get("cursor", "")
    )
    rows = member_rows(project, page.rows, context["calendar"])
    context |= {
        "page": Page(rows, page.next, page.previous),
        "sees_spend": context["can"]["see_refusals"],
        "admitted": project.group_access.select_related("group").order_by("group__name"),
    }
    return render_page_or_region(request, "projects/members.html", "projects/_member_table.html", context)


@require_GET
@require(Right.SEE_PROJECTS)
def export(request: HttpRequest, code: str) -> StreamingHttpResponse:
    """Download the members with what they spend."""
    project = get_project(request, code, need=Right.SEE_REFUSALS)
    ids = list(memberships_of(project).order_by("-role", "person__name", "pk").values_list("pk", flat=True))
    record_list_export(
        "project members",
        actor=actor_of(request),
        filters=f"project={code}",
        rows=len(ids),
        project=project.pk,
    )
    now = clock()
    batches = (memberships_of(project).in_bulk(ids[start : start + 500]) for start in range(0, len(ids), 500))
    lines = (
        [row.membership.person.name, row.membership.person.email, row.membership.role, row.membership.added]
        + [from_nano(row.used.today), from_nano(row.used.month)]
        + [None if each is None else from_nano(each) for each in (row.day_limit, row.month_limit)]
        + [row.tokens]
        for batch in batches
        for row in member_rows(project, list(batch.values()), now)
    )
    return csv_response(f"members-of-{code}-{now.today}", HEADS, lines)


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def add(request: HttpRequest, code: str) -> HttpResponse:
    """Add people found in the directory."""
    project = get_project(request, code, need=Right.MANAGE_MEMBERS)
    can_govern = rights_in(person_of(request), project)["set_limits"]
    form, back = (
        MemberForm(posted(request), can_govern=can_govern),
        reverse("projects:members", args=[code]),
    )
    if form.is_valid():
        actor, people = actor_of(request), form.cleaned_data["people"]
        try:
            for found in people:
                person = person_in_directory(found=found, actor=actor)
                role = form.cleaned_data.get("role", Membership.Role.MEMBER)
                services.add_member(project=project, person=person, role=role, actor=actor)
            toast = f"{people[0].name} added" if len(people) == 1 else f"{len(people)} people added"
            return saved(request, to=back, toast=toast, refresh=[REGION])
        except RuleBroken as broken:
            form.add_broken_rule(broken)
    return render_dialog(
        request,
        "projects/member_dialog.html",
        {"form": form, "project": project},
        title=f"Add people to {project.name}",
        back=back,
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def change_role(request: HttpRequest, code: str, pk: int, role: str) -> HttpResponse:
    """Make a member an owner or an owner a member: by those who govern the project, and it can be undone."""
    project = get_project(request, code, need=Right.MANAGE_MEMBERS)
    membership = get_object_or_404(project.memberships.select_related("person"), person=pk)
    if role not in Membership.Role.values:
        raise Http404
    can_govern = rights_in(person_of(request), project)["set_limits"]
    refuse_unless(can_govern, request, Right.SET_LIMITS, services.target_of(project))
    form, back = ReasonForm(posted(request)), reverse("projects:members", args=[code])
    words = (
        f"{membership.person} {'owns' if role == Membership.Role.OWNER else 'is a member of'} {project.name}"
    )
    if membership.role == role:
        return saved(request, to=back, toast=f"{words} already", refresh=[REGION])
    if form.is_valid():
        try:
            roles.change_role(
                project=project,
                person=membership.person,
                role=role,
                actor=actor_of(request),
                reason=form.cleaned_data["reason"],
            )
            undo = reverse("projects:change_role", args=[code, pk, membership.role])
            return saved(request, to=back, toast=f"{words} now", refresh=[REGION], undo=undo)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
    title = f"Make {membership.person} {'an owner' if role == Membership.Role.OWNER else 'a member'}?"
    return render_dialog(
        request,
        "projects/role_dialog.html",
        {"form": form, "project": project, "person": membership.person, "role": role},
        title=title,
        back=back,
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def remove(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """Take a person out of the project; an owner only by those who govern it."""
    project = get_project(request, code, need=Right.MANAGE_MEMBERS)
    membership = get_object_or_404(project.memberships.select_related("person"), person=pk)
    if membership.role == Membership.Role.OWNER:
        can_govern = rights_in(person_of(request), project)["set_limits"]
        refuse_unless(can_govern, request, Right.SET_LIMITS, services.target_of(project))
    form, back = ReasonForm(posted(request)), reverse("projects:members", args=[code])
    if form.is_valid():
        try:
            services.remove_member(
                project=project,
                person=membership.person,
                actor=actor_of(request),
                reason=form.cleaned_data["reason"],
            )
            return saved(request, to=back, toast=f"{membership.person} removed", refresh=[REGION])
        except RuleBroken as broken:
            form.add_broken_rule(broken)
    tokens = project.tokens.active().filter(person=membership.person)
    return render_dialog(
        request,
        "projects/remove_dialog.html",
        {"form": form, "project": project, "person": membership.person, "tokens": tokens.count()},
        title=f"Remove {membership.person} from {project.name}?",
        back=back,
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def admit(request: HttpRequest, code: str) -> HttpResponse:
    """Give a group access to the project."""
    project = get_project(request, code, need=Right.MANAGE_MEMBERS)
    person, back = person_of(request), reverse("projects:members", args=[code])
    form = GroupAccessForm(posted(request), project=project, person=person)
    if form.is_valid():
        try:
            group = form.cleaned_data["group"]
            services.admit_group(project=project, group=group, actor=actor_of(request))
            return saved(request, to=back, toast=f"{group.name} has access", refresh=[REGION])
        except RuleBroken as broken:
            form.add_broken_rule(broken)
    return render_dialog(
        request,
        "projects/admit_dialog.html",
        {"form": form, "project": project},
        title=f"Give a group access to {project.name}",
        back=back,
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.SEE_PROJECTS)
def exclude(request: HttpRequest, code: str, group: str) -> HttpResponse:
    """End the access of a group."""
    project = get_project(request, code, need=Right.MANAGE_MEMBERS)
    found = Group.objects.filter(project_access__project=project, code=group).first()
    if found is None:
        raise Http404
    form, back = ReasonForm(posted(request)), reverse("projects:members", args=[code])
    if form.is_valid():
        try:
            services.exclude_group(
                project=project, group=found, actor=actor_of(request), reason=form.cleaned_data["reason"]
            )
            return saved(request, to=back, toast=f"{found.name} has no access any more", refresh=[REGION])
        except RuleBroken as broken:
            form.add_broken_rule(broken)
    holders = project.tokens.active().filter(group=found)
    return render_dialog(
        request,
        "projects/exclude_dialog.html",
        {"form": form, "project": project, "group": found, "tokens": holders.count()},
        title=f"End the access of {found.name}?",
        back=back,
        status=422 if form.errors else 200,
    )

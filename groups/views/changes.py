"""Changing a group: its name and link, its members from the directory, who administers it, and its end."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from groups.access import get_group
from groups.forms import AdminForm, EditGroupForm
from groups.pages import page_context, try_look_up
from groups.selectors import admins_of, number_of_members
from groups.services import delete_group, remove_group_admin, update_group
from portal.accounts.access import require
from portal.accounts.actors import actor_of
from portal.accounts.models import Person
from portal.accounts.policy import Right, Role
from portal.accounts.services import grant_access, person_in_directory
from portal.lib.errors import RuleBroken
from portal.organization.selectors import end_of_day
from portal.spend import scopes
from portal.spend.selectors import limits_on
from portal.web.forms import posted
from portal.web.htmx import render_dialog, saved
from projects.models import Project


@require_http_methods(["GET", "POST"])
@require(Right.SEE_GROUPS)
def settings(request: HttpRequest, code: str) -> HttpResponse:
    """Change name, code and link, and see who administers the group."""
    need = Right.MANAGE_GROUPS if request.method == "POST" else Right.SEE_GROUPS
    group = get_group(request, code, need=need)
    form = EditGroupForm(posted(request), group=group)
    if form.is_valid():
        data, link = form.cleaned_data, form.link
        try:
            changed = update_group(
                group=group,
                name=data["name"],
                code=data["code"],
                entra_id=link,
                seen=form.seen,
                actor=actor_of(request),
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            if link and link != group.entra_id:
                try_look_up(changed, request)
            return saved(request, to=reverse("groups:settings", args=[changed.code]), toast="Settings saved")
    context = page_context(request, group, "settings") | {"form": form, "admins": admins_of(group)}
    return render(request, "groups/settings.html", context, status=422 if form.errors else 200)


@require_POST
@require(Right.SEE_GROUPS)
def look_up_members(request: HttpRequest, code: str) -> HttpResponse:
    """Read the members of the group from the directory now."""
    group = get_group(request, code, need=Right.MANAGE_GROUPS)
    if try_look_up(group, request):
        messages.success(request, f"Members of {group.name} read from Entra ID")
    return redirect("groups:members", code=code)


@require_http_methods(["GET", "POST"])
@require(Right.SEE_GROUPS)
def add_admin(request: HttpRequest, code: str) -> HttpResponse:
    """Let somebody of the directory administer the group."""
    group = get_group(request, code, need=Right.MANAGE_ACCESS)
    form, back = AdminForm(posted(request)), reverse("groups:settings", args=[code])
    if form.is_valid():
        data, actor = form.cleaned_data, actor_of(request)
        try:
            person = person_in_directory(found=data["person"], actor=actor)
            grant_access(
                person=person,
                role=Role.GROUP_ADMIN,
                group=group.pk,
                expires=end_of_day(data["expires"]),
                actor=actor,
                reason=data["reason"],
            )
            return saved(request, to=back, toast=f"{person} administers {group.name}")
        except RuleBroken as broken:
            form.add_broken_rule(broken)
    return render_dialog(
        request,
        "groups/admin_dialog.html",
        {"form": form, "group": group},
        title=f"Who administers {group.name}?",
        back=back,
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.SEE_GROUPS)
def remove_admin(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """Take the administration of the group from somebody."""
    group = get_group(request, code, need=Right.MANAGE_ACCESS)
    person = get_object_or_404(Person.objects.filter(role_grants__in=admins_of(group)).distinct(), pk=pk)
    back = reverse("groups:settings", args=[code])
    error = ""
    if request.method == "POST":
        reason = request.POST.get("reason", "").strip()[:200]
        try:
            remove_group_admin(group=group, person=person, actor=actor_of(request), reason=reason)
            return saved(request, to=back, toast=f"{person} does not administer {group.name} any more")
        except RuleBroken as broken:
            error = broken.message
    return render_dialog(
        request,
        "groups/remove_admin_dialog.html",
        {"group": group, "person": person, "error": error},
        title=f"Take {group.name} from {person}?",
        back=back,
        status=422 if error else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.SEE_GROUPS)
def delete(request: HttpRequest, code: str) -> HttpResponse:
    """Delete a group that owns no project, after its code was typed."""
    group = get_group(request, code, need=Right.MANAGE_GROUPS)
    error, owned = "", group.projects.order_by("name")
    if request.method == "POST":
        if request.POST.get("confirm", "").strip() != group.code:
            error = f"Type {group.code}, as it stands above."
        else:
            try:
                delete_group(group=group, actor=actor_of(request))
                return saved(request, to=reverse("groups:list"), toast=f"Group {group.name} deleted")
            except RuleBroken as broken:
                error = broken.message
    number = owned.count()
    archived = owned.filter(state=Project.State.ARCHIVED).count()
    context = {
        "group": group,
        "owned": owned[:12],
        "number_owned": number,
        "archived": archived,
        "in_use": number - archived,
        "access": group.project_access.select_related("project").order_by("project__name")[:12],
        "accessible": group.project_access.count(),
        "admins": admins_of(group).count(),
        "number": number_of_members(group),
        "limits": len(limits_on([scopes.group(group.pk)]).get(scopes.group(group.pk), [])),
        "code": group.code,
        "noun": "group",
        "keep": "Keep group",
        "danger": "Delete group",
        "error": error,
    }
    return render_dialog(
        request,
        "groups/owns_projects_dialog.html" if number else "groups/delete_dialog.html",
        context,
        title=f"Delete group {group.name}?",
        back=reverse("groups:detail", args=[code]),
        status=422 if error else 200,
    )

"""API keys across projects: the list, creating one, revoking several."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from apikeys.access import keys_manageable_by, keys_visible_to
from apikeys.forms import IssueForm
from apikeys.models import ApiKey
from apikeys.selectors import key_rows
from apikeys.services import issue_api_key, revoke_api_keys
from apikeys.tables import REGION, KeyFilters, key_table
from audit.services import record_list_export
from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.credentials.selectors import in_batches
from portal.lib.errors import RuleBroken
from portal.lib.money import from_nano
from portal.organization.selectors import current as current_organization
from portal.spend import selectors as spend
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_dialog, render_page_or_region, saved
from projects.access import get_project, projects_with
from projects.forms import ChooseProjectForm, ReasonForm
from projects.pages import clock

MOST_AT_ONCE = 200
LIVE = timedelta(hours=1)


@require_GET
@require(Right.SEE_PROJECTS)
def key_list(request: HttpRequest) -> HttpResponse:
    """Show the keys of the projects the person may see."""
    person, calendar = person_of(request), clock()
    may_manage = projects_with(person, Right.MANAGE_API_KEYS).exists()
    context = key_table(request, keys_visible_to(person), calendar, may_revoke=may_manage)
    context["can_issue"] = may_manage
    return render_page_or_region(request, "apikeys/list.html", "apikeys/_key_table.html", context)


@require_GET
@require(Right.SEE_PROJECTS)
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Download the list as filtered; never a secret."""
    filters, calendar = KeyFilters(request.GET), clock()
    found = filters.found(keys_visible_to(person_of(request)))
    heads = ["Id", "Name", "Owner", "Deputy", "Project", "Status", "Created", "Secret made", "Expires"]
    heads += ["Last used", "Last used from", "This month"]
    record_list_export(
        "API keys", actor=actor_of(request), filters=request.GET.urlencode()[:1000], rows=found.count()
    )
    return csv_response(f"api-keys-{calendar.today}", heads, _lines(found, calendar))


def _lines(keys: QuerySet[ApiKey], calendar: spend.Calendar) -> Iterator[list[object]]:
    """Yield the lines of the export in batches, so that any number of keys needs little memory."""
    for batch in in_batches(keys):
        for row in key_rows(batch, calendar):
            key = row.key
            made = key.rotated or key.created
            yield [
                key.key_id, key.name, str(key.owner or ""), str(key.deputy or ""), key.project.code, key.status,
                key.created, made, key.expires, key.last_used, key.last_used_from, from_nano(row.month),
            ]  # fmt: skip


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_API_KEYS)
def issue(request: HttpRequest) -> HttpResponse:
    """Create a key in the project of the address; its secret is in this one answer and nowhere else."""
    person, organization = person_of(request), current_organization()
    if not (code := request.GET.get("project", "")):
        context = {"form": ChooseProjectForm(projects=projects_with(person, Right.MANAGE_API_KEYS))}
        return render_dialog(
            request,
            "projects/choose_dialog.html",
            context,
            title="Create an API key",
            back=reverse("apikeys:list"),
        )
    project = get_project(request, code, need=Right.MANAGE_API_KEYS)
    form = IssueForm(
        posted(request),
        project=project,
        organization=organization,
        person=person,
        may_never_expire=can(person, Right.MANAGE_API_KEYS, everywhere=True),
    )
    back = reverse("projects:keys", args=[project.code])
    if form.is_valid():
        values = dict(form.cleaned_data)
        for limit in ("daily_limit", "monthly_limit"):
            values[limit] = None if values[limit] is None else from_nano(values[limit])
        try:
            key, secret = issue_api_key(project=project, actor=actor_of(request), **values)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            shown = {"secret": secret, "label": "API key", "key": key, "project": project}
            response = render_dialog(
                request,
                "apikeys/issued_dialog.html",
                shown,
                title=f"Key {key.name} created",
                back=back,
                refresh=[REGION],
            )
            response["Cache-Control"] = "no-store"
            return response
    return render_dialog(
        request,
        "apikeys/issue_dialog.html",
        {"form": form, "project": project},
        title="Create an API key",
        back=back,
        status=422 if form.errors else 200,
    )


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_API_KEYS)
def revoke_many(request: HttpRequest) -> HttpResponse:
    """Revoke the selected keys, after saying which are in use; those that may not be are left out."""
    chosen = request.POST.getlist("id") or request.GET.getlist("id")
    found = keys_manageable_by(person_of(request)).filter(key_id__in=chosen[:MOST_AT_ONCE], revoked=None)
    keys = list(found.select_related("project", "owner").order_by(F("last_used").desc(nulls_last=True), "pk"))
    form, back = ReasonForm(posted(request)), reverse("apikeys:list")
    if form.is_valid() and keys:
        done = revoke_api_keys(keys=keys, actor=actor_of(request), reason=form.cleaned_data["reason"])
        words = f"{len(done)} key{'' if len(done) == 1 else 's'} revoked"
        return saved(request, to=back, toast=words, refresh=[REGION])
    now = timezone.now()
    shown = {
        "form": form,
        "keys": keys,
        "live": [key for key in keys if key.last_used and now - key.last_used < LIVE],
    }
    title = f"Revoke {len(keys)} API key{'' if len(keys) == 1 else 's'}?"
    status = 422 if form.errors or (request.method == "POST" and not keys) else 200
    return render_dialog(
        request, "apikeys/revoke_many_dialog.html", shown, title=title, back=back, status=status
    )

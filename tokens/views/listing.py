"""User tokens across projects: the list, its export, and revoking several."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from audit.services import record_list_export
from portal.accounts.access import person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.credentials.selectors import in_batches
from portal.lib.money import from_nano
from portal.spend import selectors as spend
from portal.web.csv import csv_response
from portal.web.forms import posted
from portal.web.htmx import render_dialog, render_page_or_region, saved
from projects.forms import ReasonForm
from projects.pages import clock
from tokens.access import looks_after_tokens, tokens_manageable_by, tokens_visible_to
from tokens.issuing import projects_to_issue_in
from tokens.models import UserToken
from tokens.selectors import current_tokens_of, token_rows
from tokens.services import revoke_tokens
from tokens.tables import REGION, TokenFilters, token_table

MOST_AT_ONCE = 200
LIVE = timedelta(hours=1)


@require_GET
@require(Right.SEE_PROJECTS)
def token_list(request: HttpRequest) -> HttpResponse:
    """Show the tokens the person may see; who looks after none but their own sees those as *My tokens*."""
    person, calendar = person_of(request), clock()
    is_mine = not looks_after_tokens(person)
    may_revoke = is_mine or tokens_manageable_by(person).exists()
    context = token_table(
        request, tokens_visible_to(person), calendar, is_mine=is_mine, may_revoke=may_revoke
    )
    chosen = "" if is_mine else context["filters"].value("person")
    context |= {
        "can_issue": projects_to_issue_in(person).exists(),
        "holder": _holder(chosen, tokens_visible_to(person)),
        "me": person,
    }
    return render_page_or_region(request, "tokens/list.html", "tokens/_token_table.html", context)


def _holder(chosen: str, visible: QuerySet[UserToken]) -> Person | None:
    """Return the one person whose tokens are shown, when the address names one."""
    if not chosen.isdecimal() or not visible.filter(person=int(chosen)).exists():
        return None
    return Person.objects.filter(pk=int(chosen)).first()


@require_GET
@require(Right.SEE_PROJECTS)
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Download the list as filtered; never a secret."""
    person, calendar = person_of(request), clock()
    filters = TokenFilters(request.GET, person=person, is_mine=not looks_after_tokens(person))
    heads = ["Id", "Name", "Person", "Address", "Project", "Status", "Created", "Expires"]
    heads += ["Last used", "Last used from", "This month"]
    found = filters.found(tokens_visible_to(person))
    record_list_export(
        "user tokens", actor=actor_of(request), filters=request.GET.urlencode()[:1000], rows=found.count()
    )
    return csv_response(f"user-tokens-{calendar.today}", heads, _lines(found, calendar))


def _lines(tokens: QuerySet[UserToken], calendar: spend.Calendar) -> Iterator[list[object]]:
    """Yield the lines of the export in batches, so that any number of tokens needs little memory."""
    for batch in in_batches(tokens):
        for row in token_rows(batch, calendar):
            token = row.token
            yield [
                token.key_id, token.name, token.person.name, token.person.email, token.project.code, token.status,
                token.created, token.expires, token.last_used, token.last_used_from, from_nano(row.month),
            ]  # fmt: skip


@require_http_methods(["GET", "POST"])
@require(Right.REVOKE_TOKEN)
def revoke_many(request: HttpRequest) -> HttpResponse:
    """Revoke the selected tokens, or all of a person, after saying which are in use.

    Those that may not be revoked are left out, as if they were not there.
    """
    within = tokens_manageable_by(person_of(request))
    whose = request.GET.get("person", "")
    holder = _holder(whose, within)
    if holder is not None:
        found = current_tokens_of(holder, within)
    else:
        chosen = request.POST.getlist("id") or request.GET.getlist("id")
        found = within.filter(key_id__in=chosen, revoked__isnull=True)
    latest = found.order_by(F("last_used").desc(nulls_last=True), "pk")
    tokens = list(latest.select_related("project", "person")[:MOST_AT_ONCE])
    form, back = ReasonForm(posted(request)), reverse("tokens:list")
    if form.is_valid() and tokens:
        done = revoke_tokens(tokens=tokens, actor=actor_of(request), reason=form.cleaned_data["reason"])
        words = f"{len(done)} token{'' if len(done) == 1 else 's'} revoked"
        return saved(request, to=back, toast=words, refresh=[REGION])
    now = timezone.now()
    shown = {
        "form": form,
        "tokens": tokens,
        "holder": holder,
        "live": [token for token in tokens if token.last_used and now - token.last_used < LIVE],
    }
    many = f"{len(tokens)} user token{'' if len(tokens) == 1 else 's'}"
    title = f"Revoke every token of {holder}?" if holder else f"Revoke {many}?"
    status = 422 if form.errors or (request.method == "POST" and not tokens) else 200
    return render_dialog(
        request, "tokens/revoke_many_dialog.html", shown, title=title, back=back, status=status
    )

"""The audit log: to read, and to take away."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from audit.access import actors_visible_to, entries_visible_to
from audit.actions import Action
from audit.actors import Target
from audit.exporting import HEADS, cells_of, lines_of_json
from audit.forms import EntryFilters
from audit.models import AuditSeal
from audit.reading import Reader, auth_in_words, changes_of, line_of
from audit.selectors import in_batches, last_entry, matching, page_of_entries
from audit.services import record_export, record_view
from portal.accounts.access import can, person_of, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.lib.windows import local_day
from portal.organization.selectors import current as current_organization
from portal.web.csv import csv_response
from portal.web.htmx import render_page_or_region, wants_region
from portal.web.tables import address
from projects.access import projects_with
from projects.selectors import choices

LOG = Target("audit_log", "1", "the audit log")


def _filters(request: HttpRequest) -> EntryFilters:
    person = person_of(request)
    projects = choices(projects_with(person, Right.SEE_AUDIT), request.GET.get("project", ""))
    return EntryFilters(request.GET, actors=actors_visible_to(person), projects=projects)


def _reader() -> Reader:
    organization = current_organization()
    now = timezone.now()
    today = local_day(now.timestamp(), organization.time_zone)
    return Reader(organization.time_zone, organization.currency, today)


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


@require_GET
@require(Right.SEE_AUDIT)
def entry_list(request: HttpRequest) -> HttpResponse:
    """Show the log, newest first; ``?open=`` names the entry whose details show."""
    filters, reader = _filters(request), _reader()
    rows = matching(
        entries_visible_to(person_of(request)), filters.wanted(timezone.now(), current_organization().zone)
    )
    before, after, opened = (_number(request, name) for name in ("before", "after", "open"))
    page = page_of_entries(rows, before=before, after=after)
    if opened and not (before or after) and page.rows and opened < page.rows[-1].seq:
        page = page_of_entries(rows, before=opened + 1)  # an address that was sent to somebody some time ago
    lines = [line_of(seal, reader) for seal in page.rows]
    number = len(lines)
    context = {
        "filters": filters,
        "page": page,
        "lines": [
            _with_details(line.seal, request, opened=line.seq == opened) | {"line": line} for line in lines
        ],
        "region": "entry-table",
        "count": f"{number} shown"
        if page.newer or page.older
        else f"{number} entr{'y' if number == 1 else 'ies'}",
        "last": last_entry(),
        "can_export": can(person_of(request), Right.EXPORT_AUDIT),
        "query": address(request.GET, before=None, after=None, open=None),
    }
    record_view(Action.AUDIT_VIEWED, actor=actor_of(request), target=LOG)
    return render_page_or_region(request, "audit/list.html", "audit/_entry_table.html", context)


def _with_details(seal: AuditSeal, request: HttpRequest, *, opened: bool) -> dict[str, Any]:
    """Return what one entry's rows need: the address of the page with it opened or closed, and its details."""
    query = request.GET.copy()
    query.pop("open", None)
    if not opened:
        query["open"] = str(seal.seq)
    here = f"{reverse('audit:list')}?{query.urlencode()}"
    reader = _reader() if opened else None
    return {
        "opened": opened,
        "href": f"{here}#e{seal.seq}",
        "push": here,
        "part": f"{reverse('audit:entry', args=[seal.seq])}?{query.urlencode()}",
        "changes": changes_of(seal.entry, reader) if reader else [],
        "auth": auth_in_words(seal.entry.auth),
    }


@require_GET
@require(Right.SEE_AUDIT)
def entry(request: HttpRequest, seq: int) -> HttpResponseBase:
    """Show one entry: the list opened at it, or for htmx only its rows, opened or closed."""
    seal = entries_visible_to(person_of(request)).filter(seq=seq).first()
    if seal is None:
        raise Http404
    if not wants_region(request):
        return redirect(f"{reverse('audit:list')}?{urlencode({'open': seq})}#e{seq}")
    record_view(Action.AUDIT_VIEWED, actor=actor_of(request), target=LOG)
    context = _with_details(seal, request, opened=_number(request, "open") == seq)
    return render(request, "audit/_entry.html", {"each": context | {"line": line_of(seal, _reader())}})


def _exported(request: HttpRequest, kind: str) -> Iterator[AuditSeal]:
    """Write down that the log is taken away, then return the entries as filtered, up to the end as it was before."""
    filters = _filters(request)
    wanted = filters.wanted(timezone.now(), current_organization().zone)
    last = last_entry()
    chosen = {name: filters.value(name) for name in filters.fields if filters.value(name)}
    record_export(
        Action.AUDIT_EXPORTED,
        actor=actor_of(request),
        target=LOG,
        changes={"format": (None, kind), "up_to_entry": (None, last.seq if last else 0)}
        | {name: (None, value) for name, value in chosen.items()},
    )
    rows = matching(entries_visible_to(person_of(request)), wanted)
    return in_batches(rows, up_to=last.seq if last else 0)


def _name(reader: Reader) -> str:
    return f"audit-{reader.today}"


@require_GET
@require(Right.EXPORT_AUDIT)
def export_csv(request: HttpRequest) -> StreamingHttpResponse:
    """Download the entries as filtered, for a spreadsheet."""
    return csv_response(_name(_reader()), HEADS, (cells_of(seal) for seal in _exported(request, "CSV")))


@require_GET
@require(Right.EXPORT_AUDIT)
def export_ndjson(request: HttpRequest) -> StreamingHttpResponse:
    """Download the entries as filtered, one JSON object a line, with their hashes, and a manifest as the last line.

    ``entry`` stands there in its canonical form, letter by letter, so that the hash can be computed again:
    SHA-256 of the previous hash, ``1`` and that text.
    """
    lines = lines_of_json(_exported(request, "JSON lines"))
    response = StreamingHttpResponse(lines, content_type="application/x-ndjson; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{_name(_reader())}.ndjson"'
    return response

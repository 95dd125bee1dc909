"""What the pages of a user token and of an API key show alike."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest

from audit.actors import Target
from audit.models import AuditEntry
from audit.reading import Reader, Told, told
from portal.accounts.access import person_of
from portal.accounts.models import Person
from portal.accounts.policy import Reach, Right, reach
from portal.credentials.models import CallCredential
from portal.decision.forms import LimitForm
from portal.decision.limits import LimitSheet, Place, chain, deciding
from portal.gateway.models import Gateway
from portal.lib.problems import PROBLEMS
from portal.organization.selectors import current as current_organization
from portal.spend import scopes, selectors
from portal.spend.models import Refusal
from portal.spend.selectors import Calendar
from portal.web.charts import daily_chart
from projects.access import rights_in, roles_in
from projects.models import Project
from projects.pages import clock, sheet_of

DAYS = 30
MOST_REFUSALS = 5
MOST_ENTRIES = 8


def credential_context(
    request: HttpRequest, credential: CallCredential, project: Project, *, kind: str, calendar: Calendar
) -> dict[str, Any]:
    """Return spend, limits, last use, refusals and audit entries of one credential; `kind` as the log files it."""
    organization, key = current_organization(), scopes.credential(credential.key_id)
    used = selectors.today_and_month([key], calendar).get(key, selectors.NOTHING)
    day_limit, month_limit = selectors.spend_limits([key]).get(key, (None, None))
    first = calendar.today - timedelta(days=DAYS - 1)
    spent = selectors.spend_by_day(key, first, calendar.today + timedelta(days=1))
    sees_audit = reach(Right.SEE_AUDIT, roles_in(person_of(request), project)) > Reach.OWN
    return {
        "project": project,
        "used": used,
        "day_limit": day_limit,
        "month_limit": month_limit,
        "daily": daily_chart(
            "daily",
            f"Spend each day, last {DAYS} days",
            first=first,
            spent=spent,
            length=DAYS,
            limit=day_limit,
            currency=organization.currency,
        )
        if any(spent)
        else None,
        "gateway": _gateway(credential),
        "refusals": _refusals(credential),
        "entries": _entries(kind, credential, calendar) if sees_audit else None,
    }


def credential_sheet(
    person: Person, credential: CallCredential, project: Project, *, label: str, target: Target
) -> LimitSheet:
    """Return the limits of the credential's own, below those of organization, group and project."""
    around = sheet_of(project, current_organization(), person)
    key = scopes.credential(credential.key_id)
    return LimitSheet(
        scope_key=key,
        label=label,
        places=[*around.places, Place(key, label, f"ends in {credential.last_four}", "key-round")],
        project=project.pk,
        group=project.group_id,
        target=target,
    )


def _gateway(credential: CallCredential) -> str:
    if not credential.last_used_gateway:
        return ""
    found = Gateway.objects.filter(key_id=credential.last_used_gateway).first()
    return found.name if found else credential.last_used_gateway


def _refusals(credential: CallCredential) -> list[dict[str, Any]]:
    rows = Refusal.objects.filter(credential=credential.key_id, is_observed=False)
    latest = rows.order_by("-occurred", "-decision_id")[:MOST_REFUSALS]
    return [{"row": row, "title": PROBLEMS.get(row.code, (0, row.code, ""))[1]} for row in latest]


def _entries(kind: str, credential: CallCredential, calendar: Calendar) -> list[Told]:
    entries = AuditEntry.objects.filter(target_type=kind, target_id=credential.key_id).order_by("-id")
    organization = current_organization()
    reader = Reader(organization.time_zone, organization.currency, calendar.today)
    return [told(entry, reader) for entry in entries[:MOST_ENTRIES]]


def limits_context(person: Person, project: Project, sheet: LimitSheet, form: LimitForm) -> dict[str, Any]:
    """Return what the page of a credential's limits shows: every level, and the form with its preview."""
    now = clock()
    levels = chain(sheet.places, now)
    return {
        "project": project,
        "levels": levels,
        "deciding": deciding(levels),
        "hide_wide": not rights_in(person, project)["see_groups"],
        "others": [(level, limit) for level in levels for limit in level.others],
        "form": form,
        "preview": form.preview(now),
    }

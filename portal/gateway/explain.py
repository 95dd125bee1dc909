"""Explain: for any credential, model and moment the checks, every limit with who set it, and the one that decides."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from apikeys.access import keys_visible_to
from apikeys.models import ApiKey
from portal.accounts.access import can, person_of, require
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.decision.explanation import Explanation, binding, chain, explain_at, explain_now
from portal.gateway.refusals_words import LimitCheck
from portal.lib.errors import Unavailable
from portal.lib.problems import PROBLEMS
from portal.organization.models import Organization
from portal.organization.selectors import current as current_organization
from portal.spend.models import Limit, Price
from portal.spend.scopes import Scope
from portal.web.forms import CountField, PortalForm
from projects.access import rights_in
from tokens.access import tokens_visible_to
from tokens.models import UserToken

FORWARD = timedelta(days=400)


class ExplainForm(PortalForm):
    """What is asked: whose call, to which model, when and how large."""

    credential = forms.CharField(
        label="Id of the user token or API key",
        max_length=12,
        help_text="The 12 characters after llmgw_ut_ or llmgw_ak_, never the secret.",
    )
    model = forms.CharField(
        label="Model",
        max_length=200,
        widget=forms.TextInput(attrs={"list": "priced-models", "autocomplete": "off"}),
    )
    at = forms.DateTimeField(
        label="Moment",
        required=False,
        help_text="Empty: now, with what calls in flight hold.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    input_tokens = CountField(label="Input tokens", initial=1000)
    max_output_tokens = CountField(label="Most output tokens", initial=1000)

    def clean_input_tokens(self) -> int:
        """Keep to what a call can say."""
        return min(int(self.cleaned_data["input_tokens"]), 10**9)

    def clean_max_output_tokens(self) -> int:
        """Keep to what a call can say."""
        return min(int(self.cleaned_data["max_output_tokens"]), 10**9)

    def moment(self, zone: str) -> datetime | None:
        """Return the moment asked about, typed as the organization's clock shows it; None for now."""
        typed: datetime | None = self.cleaned_data.get("at")
        return typed.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) if typed else None


@dataclass(frozen=True, slots=True)
class Looked:
    """A limit as it was looked at, the row it comes from, and the page where it is set."""

    check: LimitCheck
    limit: Limit | None
    href: str


@require_GET
@require(Right.SEE_PROJECTS)
def explain(request: HttpRequest) -> HttpResponse:
    """Show what decides; nothing is reserved."""
    organization, person = current_organization(), person_of(request)
    is_asked = bool(request.GET.get("credential"))
    form = ExplainForm(request.GET if is_asked else None, initial=request.GET.dict())
    context: dict[str, Any] = {"form": form, "models": _models()}
    status = 200
    if is_asked and form.is_valid():
        context |= _answer(form, person, organization)
    elif is_asked:
        status = 422
    if form.errors:
        status = 422
    return render(request, "gateway/explain.html", context, status=status)


def _answer(form: ExplainForm, person: Person, organization: Organization) -> dict[str, Any]:
    data, at = form.cleaned_data, form.moment(organization.time_zone)
    found = _credential(person, data["credential"].strip())
    if found is None:
        form.add_error("credential", "You see no user token or API key with this id.")
        return {}
    if at and at > timezone.now() + FORWARD:
        form.add_error("at", "Choose a moment within the next 400 days.")
        return {}
    size = {"input_tokens": data["input_tokens"], "max_output_tokens": data["max_output_tokens"]}
    model = data["model"].strip()
    try:
        told = (
            explain_at(found.key_id, model=model, at=at, **size)
            if at
            else explain_now(found.key_id, model=model, **size)
        )
    except Unavailable:
        form.add_error(None, "Nobody can say at this moment: neither Valkey nor Postgres decides. Try again.")
        return {}
    return {
        "told": told,
        "at": at or timezone.now(),
        "is_past": bool(at and at < timezone.now()),
        "credential": found,
        "steps": [(check, outcome) for check, outcome in chain(told.code) if check.name != "limits"],
        "looked": _looked(told, person, found, organization),
        "status": PROBLEMS.get(told.code, (200, "", "")),
        "spend": told.spend,
    }


def _credential(person: Person, key_id: str) -> UserToken | ApiKey | None:
    tokens = tokens_visible_to(person).select_related("project__group", "person")
    keys = keys_visible_to(person).select_related("project__group")
    return tokens.filter(key_id=key_id).first() or keys.filter(key_id=key_id).first()


def _looked(
    told: Explanation, person: Person, credential: UserToken | ApiKey, organization: Organization
) -> list[Looked]:
    """Return the limits, those that refuse first, each with the row behind it: the numbers of others stay hidden."""
    sees_all, rights = can(person, Right.SEE_ALL_LIMITS), rights_in(person, credential.project)
    hidden = set() if sees_all else {"organization", "group"} if not rights["see_groups"] else set()
    if not sees_all and getattr(credential, "person_id", None) != person.pk:
        hidden.add("user")
    binds = binding(told.rows)
    rows = {
        (limit.scope_key, limit.metric, limit.window, limit.model): limit
        for limit in Limit.objects.filter(scope_key__in={row.set_on for row in told.rows})
    }
    here = f"{reverse('limits:list')}?project={credential.project.code}"
    looked = []
    for row in sorted(told.rows, key=lambda row: not row.failed):
        code = Scope(row.scope).code
        check = LimitCheck(row, organization.currency, row is binds, code in hidden)
        is_near = code in ("project", "project_user", "project_group", "credential")
        href = here if is_near else reverse("limits:list") if sees_all else ""
        looked.append(Looked(check, rows.get((row.set_on, row.metric, row.window, row.model)), href))
    return looked


def _models() -> list[str]:
    return list(Price.objects.order_by("model").values_list("model", flat=True).distinct()[:300])

"""Questions about refused requests: which a person may see, which fit, and what they have in common."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone

from apikeys.models import ApiKey
from portal.accounts.access import can
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.decision.models import Subject
from portal.gateway.refusals_words import binding_parts, limit_name, reason
from portal.lib.secrets import parse
from portal.lib.windows import to_datetime
from portal.spend.models import Refusal
from portal.spend.scopes import Scope
from projects.access import projects_with
from projects.models import Project
from tokens.models import UserToken

# How long a refusal may be on its way from the decision to the record, generously.
ARRIVES = timedelta(minutes=2)
DAY = timedelta(hours=24)
MOST_CHOICES = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """What narrows the list; what is empty does not. `since` <= time < `until`."""

    text: str = ""
    code: str = ""
    limit: str = ""
    project: int | None = None
    person: int | None = None
    model: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """A refusal as the list shows it; `who` and `credential` name the caller, `limit` what bound."""

    refusal: Refusal
    title: str
    limit: str
    project: Project | None
    who: str
    credential: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Refusals for one reason: how many, and from how many people and projects."""

    code: str
    binding: str
    title: str
    limit: str
    is_observed: bool
    number: int
    people: int
    projects: int
    last: datetime


def refusals_visible_to(person: Person) -> QuerySet[Refusal]:
    """Return the refusals the person may see: all, those of the projects they look after, and their own."""
    if can(person, Right.SEE_REFUSALS, everywhere=True):
        return Refusal.objects.all()
    looked_after = projects_with(person, Right.SEE_REFUSALS).values("pk")
    return Refusal.objects.filter(Q(project__in=looked_after) | Q(person=person.pk))


def in_period(refusals: QuerySet[Refusal], wanted: Wanted) -> QuerySet[Refusal]:
    """Return the refusals of the wanted period."""
    if wanted.since:
        refusals = refusals.filter(occurred__gte=wanted.since)
    return refusals.filter(occurred__lt=wanted.until) if wanted.until else refusals


def matching(refusals: QuerySet[Refusal], wanted: Wanted) -> QuerySet[Refusal]:
    """Return the refusals that fit all that is wanted."""
    exact = {
        "code": wanted.code,
        "binding": wanted.limit,
        "project": wanted.project,
        "person": wanted.person,
        "model": wanted.model,
    }
    found = in_period(refusals, wanted).filter(**{name: value for name, value in exact.items() if value})
    return found.filter(_about(wanted.text)) if wanted.text else found


def _about(text: str) -> Q:
    """Return the condition for a credential (its id, or a text it can be read from), a request or a decision."""
    secret = parse(text)
    parts = text.split("_")
    key_id = secret.key_id if secret else parts[2] if text.startswith("llmgw_") and len(parts) > 2 else text
    condition = Q(credential__startswith=key_id) | Q(request_id=text)
    try:
        return condition | Q(decision_id=UUID(text))
    except ValueError:
        return condition


def scope_labels(keys: Iterable[str]) -> dict[str, str]:
    """Return how people call the scopes, as far as they have limits: ``Project Claims triage``."""
    # One counter for each user belongs to a limit that names nobody.
    general = {key: f"{key.rsplit(':', 1)[0]}:*" if key[:2] in ("u:", "pu") else key for key in keys if key}
    rows = Subject.objects.filter(pk__in=[f"l:{key}" for pair in general.items() for key in pair])
    found = {row.key[2:]: str(row.data.get("label", "")) for row in rows}
    return {key: found.get(key) or found.get(other) or Scope(key).code for key, other in general.items()}


def limit_titles(bindings: Iterable[str]) -> dict[str, str]:
    """Return for each binding limit whose it is and what it is called."""
    parts = {binding: binding_parts(binding) for binding in bindings if binding}
    labels = scope_labels({scope for scope, *_ in parts.values()})
    return {
        binding: f"{labels[scope]}: {limit_name(metric, window, model)}"
        for binding, (scope, metric, window, model) in parts.items()
    }


def reasons_of(refusals: QuerySet[Refusal], most: int = 8) -> list[Reason]:
    """Return the reasons of the last 24 hours, the most frequent first."""
    rows = list(
        refusals.filter(occurred__gte=timezone.now() - DAY)
        .order_by()
        .values("code", "binding", "is_observed")
        .annotate(
            number=Sum("count"),
            people=Count("person", distinct=True),
            projects=Count("project", distinct=True),
            last=Max("occurred"),
        )
        .order_by("-number", "code", "binding")[:most]
    )
    titles = limit_titles({row["binding"] for row in rows})
    return [Reason(title=reason(row["code"]), limit=titles.get(row["binding"], ""), **row) for row in rows]


def rows_of(refusals: Sequence[Refusal]) -> list[RefusalRow]:
    """Return the rows of a page with their names, in four queries whatever their number."""
    projects = Project.objects.in_bulk([row.project for row in refusals if row.project])
    people = Person.objects.in_bulk([row.person for row in refusals if row.person])
    used = {row.credential for row in refusals}
    keys = {key.key_id: key for key in ApiKey.objects.filter(key_id__in=used)}
    tokens = {token.key_id: token for token in UserToken.objects.filter(key_id__in=used)}
    titles = limit_titles({row.binding for row in refusals})
    rows = []
    for row in refusals:
        key, token = keys.get(row.credential), tokens.get(row.credential)
        person = people.get(row.person or 0)
        held = "API key" if key else token.name if token else ""
        hint = key.hint[-4:] if key else token.hint[-4:] if token else ""
        rows.append(
            RefusalRow(
                row,
                reason(row.code),
                titles.get(row.binding, ""),
                projects.get(row.project or 0),
                str(person) if person else key.name if key else "",
                f"{held}, ends in {hint}" if held else row.credential,
            )
        )
    return rows


def choices_of(refusals: QuerySet[Refusal]) -> dict[str, list[tuple[str, str]]]:
    """Return what a list of refusals can be narrowed by: people, models and limits that occur in it."""

    def values(name: str) -> list[Any]:
        return list(refusals.order_by(name).values_list(name, flat=True).distinct()[:MOST_CHOICES])

    people = Person.objects.in_bulk([pk for pk in values("person") if pk])
    titles = limit_titles(values("binding"))
    return {
        "person": sorted(((str(pk), str(person)) for pk, person in people.items()), key=lambda pair: pair[1]),
        "model": [(name, name) for name in values("model") if name],
        "limit": sorted(titles.items(), key=lambda pair: pair[1]),
    }


def may_still_come(decision_id: UUID) -> bool:
    """Tell whether a decision is so young that its refusal may be on its way; the id tells its time (UUIDv7)."""
    if decision_id.version != 7:
        return False
    return abs(timezone.now() - to_datetime((decision_id.int >> 80) / 1000)) < ARRIVES

"""Why one request was refused: the checks in the order they ran, every limit as it stood, and what is alike."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Sum
from django.urls import reverse
from django.utils import timezone

from apikeys.models import ApiKey
from groups.models import Group
from portal.accounts.access import can
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.decision.decide import Row
from portal.decision.explanation import Outcome, binding, chain
from portal.gateway.models import Gateway
from portal.gateway.refusals import DAY, refusals_visible_to
from portal.gateway.refusals_words import LimitCheck
from portal.lib.money import format_money
from portal.lib.problems import PROBLEMS
from portal.lib.windows import to_datetime
from portal.organization.models import Organization
from portal.spend.models import LimitAlert, Refusal
from portal.spend.scopes import Scope
from portal.web import numbers
from projects.access import rights_in
from projects.models import Membership, Project
from tokens.models import UserToken


@dataclass(frozen=True, slots=True)
class Step:
    """One check of the chain before the limits, with what was found."""

    title: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class Things:
    """What a refusal names, as far as it still exists."""

    refusal: Refusal
    project: Project | None
    person: Person | None
    credential: UserToken | ApiKey | None
    gateway: Gateway | None

    @property
    def kind(self) -> str:
        """What the credential is called."""
        return "API key" if isinstance(self.credential, ApiKey) else "User token"


@dataclass(frozen=True, slots=True)
class Story:
    """All that the page tells. `resets` is when the binding limit has room again; None when no time brings it."""

    things: Things
    status: int
    title: str
    remedy: str
    steps: list[Step]
    limits: list[LimitCheck]
    resets: datetime | None
    reached: datetime | None
    alike: int
    people_alike: int

    @property
    def refusal(self) -> Refusal:
        return self.things.refusal

    @property
    def binding(self) -> LimitCheck | None:
        """The limit that decided, if it was a limit."""
        return next((check for check in self.limits if check.binds), None)

    @property
    def number_failed(self) -> int:
        """How many limits had no room."""
        return sum(not check.row.has_room for check in self.limits)

    @property
    def outcomes(self) -> str:
        """How the checks ended, in numbers."""
        steps = [step.outcome for step in self.steps]
        passed = steps.count("passed") + sum(check.row.has_room for check in self.limits)
        failed = steps.count("failed") + sum(check.failed for check in self.limits)
        observed = sum(check.would_refuse for check in self.limits)
        skipped = steps.count("not_reached") + self.has_unreached_limits
        parts = [f"{passed} passed"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"{observed} would refuse"] if observed else []
        return ", ".join([*parts, f"{skipped} not reached"] if skipped else parts)

    @property
    def has_unreached_limits(self) -> bool:
        """Whether a check before the limits was the answer, so that no limit was looked at."""
        return any(step.outcome == "failed" for step in self.steps)


def story_of(refusal: Refusal, viewer: Person, organization: Organization) -> Story:
    """Tell why the request was refused, as far as the viewer may know."""
    things = Things(
        refusal,
        Project.objects.select_related("group").filter(pk=refusal.project or 0).first(),
        Person.objects.filter(pk=refusal.person or 0).first(),
        UserToken.objects.filter(key_id=refusal.credential).first()
        or ApiKey.objects.filter(key_id=refusal.credential).first(),
        Gateway.objects.filter(key_id=refusal.gateway).first(),
    )
    rows = [Row(**check) for check in refusal.checks]
    binds = binding(rows) or max(
        (row for row in rows if not row.has_room), key=lambda row: row.resets, default=None
    )
    status, title, remedy = PROBLEMS.get(refusal.code, (403, refusal.code, ""))
    hidden = _hidden_from(viewer, things)
    until = max(refusal.occurred, min(timezone.now(), refusal.occurred + DAY))
    alike = (
        refusals_visible_to(viewer)
        .filter(
            code=refusal.code,
            binding=refusal.binding,
            project=refusal.project,
            is_observed=refusal.is_observed,
            occurred__gt=until - DAY,
            occurred__lte=until,
        )
        .aggregate(number=Sum("count"), people=Count("person", distinct=True))
    )
    return Story(
        things,
        status,
        title,
        remedy,
        _steps(things, organization),
        [
            LimitCheck(row, organization.currency, row is binds, Scope(row.scope).code in hidden)
            for row in sorted(rows, key=lambda row: not row.failed)
        ],
        to_datetime(binds.resets) if binds and binds.resets else None,
        _reached(binds),
        alike["number"] or 0,
        alike["people"] or 0,
    )


def _hidden_from(viewer: Person, things: Things) -> set[str]:
    """Return the scopes whose numbers belong to others: as on the pages of limits."""
    if can(viewer, Right.SEE_REFUSALS, everywhere=True):
        return set()
    hidden = set() if viewer == things.person else {"user"}
    rights = rights_in(viewer, things.project) if things.project else {}
    return hidden if rights.get("see_groups") else hidden | {"organization", "group"}


def _steps(things: Things, organization: Organization) -> list[Step]:
    """Return the checks before the limits; a request that only an observed limit would refuse passed them all."""
    refusal, project = things.refusal, things.project
    details = {
        "credential_known": _credential(things),
        "credential_active": _validity(things, organization.time_zone),
        "member": _member(things, organization.time_zone),
        "project_active": _project(project),
        "model_allowed": _allowed(refusal, project),
        "model_priced": f"It could cost up to {format_money(refusal.requested, organization.currency)}"
        if refusal.requested
        else "",
    }
    return [
        Step(check.title, outcome, "" if outcome == "not_reached" else details.get(check.name, ""))
        for check, outcome in chain(refusal.code)
        if check.name != "limits"
    ]


def _credential(things: Things) -> str:
    if things.credential is None:
        return things.refusal.credential or "No credential has the secret that was sent"
    return f"{things.kind} {things.credential.name}, ending in {things.credential.hint[-4:]}"


def _validity(things: Things, zone: str) -> str:
    credential = things.credential
    if credential is None:
        return ""
    if things.refusal.code == "credential_revoked" and credential.revoked:
        return f"Revoked on {numbers.when(credential.revoked, zone)}"
    begins = getattr(credential, "not_before", None)
    if begins is not None and begins > things.refusal.occurred:
        return f"Valid from {numbers.when(begins, zone)} on"
    if credential.expires is None:
        return "Does not expire"
    verb = "Expired" if credential.expires <= things.refusal.occurred else "Expires"
    return f"{verb} on {numbers.day(credential.expires, zone)}"


def _member(things: Things, zone: str) -> str:
    if isinstance(things.credential, ApiKey):
        return "An API key belongs to the project, not to a person"
    if things.person is None or things.project is None:
        return ""
    membership = Membership.objects.filter(project=things.project, person=things.person).first()
    if things.refusal.code == "not_a_member":
        return f"{things.person} had no access to {things.project.name}"
    since = f" since {numbers.day(membership.added, zone)}" if membership else ", through a group"
    return f"{things.person}, in {things.project.name}{since}"


def _project(project: Project | None) -> str:
    if project is None:
        return ""
    return f"{project.name} in {project.group.name}" if project.group else project.name


def _allowed(refusal: Refusal, project: Project | None) -> str:
    if refusal.code == "model_not_allowed":
        listed = ", ".join(project.allowed_models or ()) if project else ""
        return f"{refusal.model} was not on the list{f', which now is: {listed}' if listed else ''}"
    if project is None or project.allowed_models is None:
        return f"{refusal.model}; every model that has a price is allowed"
    return f"{refusal.model} was on the project’s list"


def _reached(binds: Row | None) -> datetime | None:
    """Return when the binding limit was reported to be reached, in the window of the refusal."""
    if binds is None:
        return None
    alert = (
        LimitAlert.objects.filter(
            limit__scope_key=binds.set_on,
            limit__metric=binds.metric,
            limit__window=binds.window,
            limit__model=binds.model,
            counter=binds.scope,
            threshold=100,
            window_start__lt=to_datetime(binds.resets),
        )
        .order_by("-window_start")
        .first()
    )
    return alert.raised if alert else None


def where_to_raise(story: Story, viewer: Person) -> str:
    """Return the address where the viewer can raise the binding limit; empty when they may not."""
    found, project = story.binding, story.things.project
    if found is None:
        return ""
    scope = Scope(found.row.set_on)
    may_set = bool(project and rights_in(viewer, project)["set_limits"])
    if scope.code in ("organization", "user"):
        is_allowed = can(viewer, Right.SET_LIMITS, everywhere=True)
        return reverse("organization:limits") if is_allowed else ""
    if scope.code == "group" and may_set:
        group = Group.objects.current().filter(pk=scope.group or 0).first()
        return reverse("groups:detail", args=[group.code]) if group else ""
    return reverse("projects:limits", args=[project.code]) if project and may_set else ""

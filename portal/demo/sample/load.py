"""Put the sample together, in an order in which every step may be repeated after an interruption."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from audit.actors import Actor
from portal.decision import configuration, decide, jobs, rebuild
from portal.decision.decide import Call
from portal.decision.imports import import_prices
from portal.decision.services import update_organization
from portal.demo.sample import life, things, usage
from portal.demo.sample.plan import GATEWAYS, HAIKU, ORGANIZATION, PROJECTS, SONNET
from portal.lib.errors import RuleBroken
from portal.lib.uuid7 import uuid7
from portal.organization.models import Organization
from portal.organization.selectors import current as current_organization
from portal.spend import inbox
from portal.spend.models import Price, Refusal
from projects.models import Project
from projects.services import set_project_state
from tokens.models import UserToken
from tokens.services import issue_token, revoke_token

_SEED = 20_261_124
_BLOCKED = "fraud-notes"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What there is now, and whether this run made it."""

    projects: int
    calls: int
    is_new: bool


def load(actor: Actor) -> Loaded:
    """Make the sample organization with a month of usage that ends now, unless it is there.

    Raise RuleBroken in a portal that belongs to somebody else.
    """
    organization = Organization.objects.filter(pk=1).first()
    if organization is not None and organization.name != ORGANIZATION:
        raise RuleBroken(f"This portal belongs to {organization.name}. The sample needs an empty one.")
    if organization is None and (Project.objects.exists() or inbox.has_usage()):
        raise RuleBroken("This portal is in use. The sample needs an empty one.")
    if Refusal.objects.exists() and Project.objects.filter(code=PROJECTS[-1].code).exists():
        return Loaded(len(PROJECTS), 0, is_new=False)
    chance, now = random.Random(_SEED), timezone.now()  # noqa: S311  a sample, no secret
    rebuild.ensure_ready()
    if organization is None:
        update_organization(name=ORGANIZATION, currency="USD", time_zone="UTC", actor=actor)
    if not Price.objects.exists():
        import_prices(effective=now - timedelta(days=75), actor=actor, reason="Sample organization")
    known = things.people(actor)
    owning = things.groups(known, actor)
    made = things.projects(known, owning, actor)
    things.credentials(known, made, chance, actor)
    registered = things.gateways(GATEWAYS, actor)
    configuration.forget()
    calls = 0
    if not inbox.has_usage():
        zone = current_organization().zone
        calls = usage.write(made, [gateway.key_id for gateway, _ in registered], chance, zone, now)
    things.limits(owning, made, actor)
    life.give_roles(known, owning, actor)
    life.set_limits(made, owning, actor)
    life.change_credentials(made, actor)
    life.ask(known, made)
    for plan in PROJECTS:
        if plan.is_paused and made[plan.code].state == Project.State.ACTIVE:
            set_project_state(
                project=made[plan.code],
                state="paused",
                actor=actor,
                reason="Paused by its owner until next month",
            )
    _refuse(made[_BLOCKED], registered[-1][1], chance, now, actor)
    life.tell(known, actor)
    return Loaded(len(made), calls, is_new=True)


def _refuse(
    project: Project, gateway_secret: str, chance: random.Random, now: datetime, actor: Actor
) -> None:
    """Have calls of the project that has used its limit refused, and let that go back some days."""
    if not gateway_secret:
        return
    holder = UserToken.objects.filter(project=project).select_related("person").earliest("pk").person
    token, secret = issue_token(project=project, person=holder, name="Case desk", days=90, actor=actor)
    for number, model in enumerate((SONNET, HAIKU, SONNET, "gpt-5.1", "northgate-internal-7b")):
        call = Call(secret, model, f"sample-refused-{number}", input_tokens=9000, max_output_tokens=4000)
        decide.authorize(gateway_secret, call)
    jobs.move_refusals()
    revoke_token(token=token, actor=actor, reason="Replaced")
    recorded = list(Refusal.objects.filter(project=project.pk).order_by("occurred"))
    people = list(UserToken.objects.filter(project=project, revoked__isnull=True))
    limited = [row for row in recorded if row.code == "limit_exceeded"]
    copies = []
    for _ in range(260 if limited else 0):
        age = (
            timedelta(minutes=chance.uniform(0.2, 60))
            if chance.random() < 0.35
            else timedelta(hours=chance.triangular(1, 70, 8))
        )
        copies.append(_copy(chance.choice(limited), chance.choice(people), now - age))
    for row in recorded:
        if row.code != "limit_exceeded":
            copies += [
                _copy(row, chance.choice(people), now - timedelta(hours=chance.uniform(1, 60)))
                for _ in range(4)
            ]
    Refusal.objects.bulk_create(copies)


def _copy(row: Refusal, token: UserToken, moment: datetime) -> Refusal:
    values: dict[str, Any] = {
        field.attname: getattr(row, field.attname) for field in Refusal._meta.concrete_fields
    }
    values |= {
        "decision_id": uuid7(),
        "occurred": moment.astimezone(UTC),
        "credential": token.key_id,
        "person": token.person_id,
        "request_id": f"sample-{uuid7().hex[12:]}",
    }
    return Refusal(**values)

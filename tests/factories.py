"""The cast and the things they work with. Everything is made by the services, so that facts are published too.

Alice administers the portal. Bob owns Claims triage, a project of the group Claims; Carol is a member of it. Dave
owns Fraud notes and is an outsider to Bob's. Erin audits.
"""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.test import Client

from audit.actors import Actor
from groups.models import Group
from groups.services import create_group
from portal.accounts import step_up
from portal.accounts.models import Person
from portal.accounts.sessions import SEEN, SIGNED_IN
from portal.accounts.step_up import Guarded
from portal.decision.services import set_price
from portal.lib.money import to_nano
from portal.lib.uuid7 import uuid7
from portal.lib.windows import local_day
from portal.spend import inbox
from projects.models import Project
from projects.services import add_member, create_project

ACTOR = Actor("user", "0", "Elena Marsh", auth="entra")
TENANT = uuid.UUID("3f7c1a52-8e0b-4c53-9a3d-6f2b7d9e1c04")


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays, and where."""

    alice: Person
    bob: Person
    carol: Person
    dave: Person
    erin: Person
    claims: Group
    triage: Project
    fraud: Project


def person(name: str, *, role: str = "", group: Group | None = None, **fields: Any) -> Person:
    """Return a new person with an identity, and a role granted in the portal when one is named."""
    email = f"{name.split()[0].lower()}@northgate.example"
    values = {"tid": TENANT, "oid": uuid.uuid4(), "name": name, "email": email, **fields}
    made = Person.objects.create(**values)
    if role:
        made.role_grants.create(role=role, group=group, source="portal", granted_by=ACTOR.display)
    return made


def cast() -> Cast:
    """Return the cast in their places."""
    alice, erin = person("Alice Admin", role="admin"), person("Erin Auditor", role="auditor")
    bob, carol, dave = person("Bob Owner"), person("Carol Member"), person("Dave Outsider")
    claims = create_group(code="claims", name="Claims", actor=ACTOR)
    triage = project("claims-triage", "Claims triage", group=claims, owners=[bob])
    add_member(project=triage, person=carol, actor=ACTOR)
    fraud = project("fraud-notes", "Fraud notes", owners=[dave])
    return Cast(alice, bob, carol, dave, erin, claims, triage, fraud)


def project(code: str, name: str = "", **fields: Any) -> Project:
    """Return a new project."""
    return create_project(code=code, name=name or code, actor=ACTOR, **fields)


def signed_in(who: Person, *, has_confirmed: bool = True) -> Client:
    """Return a browser without script in which somebody is signed in, and has just confirmed it at Microsoft."""
    client = Client()
    client.force_login(who, backend="portal.accounts.backends.IdentityBackend")
    session = client.session
    session[SIGNED_IN] = session[SEEN] = int(time.time())
    if has_confirmed:
        for kind in Guarded:
            step_up.give(session, kind)
    session.save()
    return client


def priced(model: str = "gpt-5-mini", each: str = "1") -> str:
    """Give a model a price per million tokens and return its name."""
    set_price(model=model, input=Decimal(each), output=Decimal(each), actor=ACTOR)
    return model


def usage(
    where: Project,
    spend: str,
    *,
    person: Person | None = None,
    credential: str = "",
    model: str = "gpt-5-mini",
    moment: datetime | None = None,
    is_moved: bool = False,
    **fields: Any,
) -> None:
    """Book one call as settled (or ``kind="estimate"``): in the inbox, or moved on to ledger and roll-ups."""
    at = moment or datetime.now(UTC)
    entry = inbox.Entry(
        **{
            "id": uuid7(),
            "moment": at,
            "day": local_day(at.timestamp(), "UTC"),
            "kind": "settle",
            "refers_to": None,
            "gateway": "gateway00000",
            "request_id": uuid.uuid4().hex,
            "credential": credential or "credential00",
            "project": where.pk,
            "group_id": where.group_id,
            "person": person.pk if person else None,
            "draws_on": None,
            "model": model,
            "price_id": None,
            "status": "ok",
            "calls": 1,
            "input_tokens": 1000,
            "cached_input_tokens": 0,
            "cache_write_tokens": 0,
            "output_tokens": 100,
            "reasoning_tokens": 0,
            "spend": to_nano(spend),
            "reserved": None,
            "gateway_cost": None,
            "is_late": False,
            "is_restated": False,
            "occurred": at,
            "arrived": at,
            **fields,
        }
    )
    add = inbox.add_estimates if entry.kind == "estimate" else inbox.add_settlements
    stored = add([entry])
    if is_moved:
        inbox.move(stored)

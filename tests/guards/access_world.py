"""Who and what the access matrix is tried with: three projects in two groups, and people who are something to one."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from django.db import connection, transaction

from apikeys.services import issue_api_key
from audit.models import AuditSeal
from groups.models import Group
from groups.services import create_group, delete_group, set_members
from portal.accounts.models import Person
from portal.approvals.models import Request
from portal.decision.services import set_limit
from portal.gateway.services import register_gateway
from portal.limits.requests import ask_for_raise
from portal.notifications.models import Delivery, Kind
from portal.notifications.recipients import add_recipient
from portal.notifications.services import notify
from portal.notifications.webhooks import add_webhook
from portal.spend import scopes
from portal.spend.models import Limit, Refusal
from portal.spend.months import freeze_month
from projects.models import Project
from projects.selectors import owners_of
from projects.services import add_member, admit_group, label_of
from tests.factories import ACTOR, person, priced, project, usage
from tokens.services import issue_token

EVERYWHERE = {"alice": "A", "erin": "U", "oscar": "O"}


@dataclass(frozen=True, slots=True)
class Thing:
    """What an address names, and what people are toward it; nobody, when there is no such thing."""

    arguments: Mapping[str, object]
    toward: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class World:
    """People by first name with their roles anywhere, and things by kind and by whose they are."""

    people: dict[str, Person]
    roles: dict[str, str]
    things: dict[str, dict[str, Thing]]
    projects: dict[str, Project]
    groups: dict[str, Group]


@contextmanager
def undone() -> Iterator[None]:
    """Roll back what happens inside, as a test of Django's does: durable transactions may be nested in it."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]
    with block:
        yield
        transaction.set_rollback(True)


def build() -> World:
    """Make the world."""
    claims, sales, gone, team = (
        create_group(code=code, name=name, actor=ACTOR)
        for code, name in (("claims", "Claims"), ("sales", "Sales"), ("gone", "Gone"), ("team", "Team"))
    )
    delete_group(group=gone, actor=ACTOR)
    people = {
        "alice": person("Alice Admin", role="admin"),
        "erin": person("Erin Auditor", role="auditor"),
        "oscar": person("Oscar Operator", role="operator"),
        "grace": person("Grace Claims", role="group_admin", group=claims),
        "gus": person("Gus Sales", role="group_admin", group=sales),
        "bob": person("Bob Owner"),
        "carol": person("Carol Member"),
        "mira": person("Mira Team"),
        "sue": person("Sue Sibling"),
        "dave": person("Dave Outsider"),
        "nora": person("Nora Nobody"),
    }
    roles = EVERYWHERE | dict.fromkeys(("grace", "gus"), "G") | dict.fromkeys(("bob", "sue", "dave"), "W")
    roles |= {"carol": "M", "mira": "M"}  # Nora has none
    set_members(group=team, people=[people["mira"]], actor=ACTOR)
    own = project("claims-triage", "Claims triage", group=claims, owners=[people["bob"]])
    sibling = project("claims-letters", "Claims letters", group=claims, owners=[people["sue"]])
    other = project("sales-notes", "Sales notes", group=sales, owners=[people["dave"]])
    extra = person("Eve Extra")
    for each in (own, sibling, other):
        add_member(project=each, person=extra, actor=ACTOR)
    add_member(project=own, person=people["carol"], actor=ACTOR)
    admit_group(project=own, group=team, actor=ACTOR)
    toward = {
        "own": {"grace": "G", "bob": "W", "carol": "M", "mira": "M"},
        "sibling": {"grace": "G", "sue": "W"},
        "other": {"gus": "G", "dave": "W"},
    }
    projects = {"own": own, "sibling": sibling, "other": other}
    groups = {"own": claims, "other": sales, "deleted": gone, "team": team}
    for relations in toward.values():
        relations |= EVERYWHERE
    things = _things_of_projects(projects, toward, people, extra)
    things |= {
        "group": {
            "own": Thing({"code": "claims"}, EVERYWHERE | {"grace": "G"}),
            "other": Thing({"code": "sales"}, EVERYWHERE | {"gus": "G"}),
            "deleted": Thing({"code": "gone"}),
            "unknown": Thing({"code": "nothing"}),
        },
        "groupadmin": {
            "own": Thing({"code": "claims", "pk": people["grace"].pk}, EVERYWHERE | {"grace": "G"}),
            "other": Thing({"code": "sales", "pk": people["gus"].pk}, EVERYWHERE | {"gus": "G"}),
            "deleted": Thing({"code": "gone", "pk": people["grace"].pk}),
        },
        **_things_of_the_house(people["erin"]),
    }
    return World(people, roles, things, projects, groups)


def _things_of_projects(
    projects: dict[str, Project],
    toward: dict[str, dict[str, str]],
    people: dict[str, Person],
    extra: Person,
) -> dict[str, dict[str, Thing]]:
    kinds = (
        "project",
        "membership",
        "role",
        "admission",
        "state",
        "token",
        "key",
        "refusal",
        "entry",
        "request",
        "limit",
    )
    things: dict[str, dict[str, Thing]] = {kind: {} for kind in kinds}
    old = datetime.now(UTC) - timedelta(days=3)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # the audit log seals its entries at the commit
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    for whose, each in projects.items():
        code, relations = {"code": each.code}, toward[whose]
        without_members = {who: role for who, role in relations.items() if role != "M"}
        token, _ = issue_token(project=each, person=extra, name="laptop", days=None, actor=ACTOR)
        key, _ = issue_api_key(project=each, name="crm", owner=None, days=None, actor=ACTOR)
        refusal = _refusal(each, extra, old)
        entry = AuditSeal.objects.filter(entry__project_id=each.pk).earliest("seq")
        things["project"][whose] = Thing(code, relations)
        things["membership"][whose] = Thing({**code, "pk": extra.pk}, relations)
        things["role"][whose] = Thing({**code, "pk": extra.pk, "role": "owner"}, relations)
        things["state"][whose] = Thing({**code, "state": "paused"}, relations)
        things["token"][whose] = Thing({"key_id": token.key_id}, without_members)
        things["key"][whose] = Thing({"key_id": key.key_id}, relations)
        things["refusal"][whose] = Thing({"decision_id": refusal.pk}, without_members)
        things["entry"][whose] = Thing({"seq": entry.seq}, without_members)
        things["request"][whose] = Thing({"pk": _request(each).pk}, without_members)
        limit = Limit.objects.get(scope_key=scopes.project(each.pk), metric="spend", window="week")
        things["limit"][whose] = Thing({"pk": limit.pk}, relations)
    own, carol = projects["own"], people["carol"]
    token, _ = issue_token(project=own, person=carol, name="notebook", days=None, actor=ACTOR)
    hers = {who: role for who, role in toward["own"].items() if who != "mira"}
    things["token"]["a member’s"] = Thing({"key_id": token.key_id}, hers)
    things["refusal"]["a member’s"] = Thing({"decision_id": _refusal(own, carol, old).pk}, hers)
    things["admission"]["own"] = Thing({"code": own.code, "group": "team"}, toward["own"])
    nothing = {"code": "nothing"}
    things["project"]["unknown"] = Thing(nothing)
    things["membership"]["unknown"] = Thing({**nothing, "pk": extra.pk})
    things["role"]["unknown"] = Thing({**nothing, "pk": extra.pk, "role": "owner"})
    things["admission"]["unknown"] = Thing({**nothing, "group": "team"})
    things["state"]["unknown"] = Thing({**nothing, "state": "paused"})
    things["token"]["unknown"] = things["key"]["unknown"] = Thing({"key_id": "nothing"})
    things["refusal"]["unknown"] = Thing({"decision_id": uuid.UUID(int=7)})
    things["entry"]["unknown"] = Thing({"seq": 10**9})
    things["request"]["unknown"] = things["limit"]["unknown"] = Thing({"pk": 10**9})
    usage(own, "1", request_id="call")
    things["call"] = {
        "own": Thing({"?": "id=call&gateway=gateway00000"}, EVERYWHERE),
        "unknown": Thing({"?": "id=nothing&gateway=gateway00000"}),
    }
    things["ownsession"] = {"own": Thing({"mark": "0" * 16}, EVERYWHERE | dict.fromkeys(people, "M"))}
    things["requests"] = {"own": Thing({"which": "all"}, EVERYWHERE | dict.fromkeys(people, "GW"))}
    freeze_month(date(2026, 9, 1), datetime(2026, 10, 2, tzinfo=UTC), ACTOR)
    things["month"] = {
        "own": Thing({"year": 2026, "number": 9}, EVERYWHERE | dict.fromkeys(people, "GW")),
        "unknown": Thing({"year": 2026, "number": 13}),
    }
    return things


def _things_of_the_house(somebody: Person) -> dict[str, dict[str, Thing]]:
    """What belongs to the whole house has no strangers: the door decides alone."""
    gateway, _ = register_gateway(name="edge", actor=ACTOR)
    unlinked = Person.objects.create(tid=None, oid=None, name="new@northgate.example")
    guest = person("Paula Guest", is_guest=True)
    unknown = {"unknown": Thing({"pk": 10**9})}
    return {
        "gateway": {
            "own": Thing({"key_id": gateway.key_id}, EVERYWHERE),
            "unknown": Thing({"key_id": "nothing"}),
        },
        **_things_of_notifications(somebody),
        "price": {
            "own": Thing({"?": f"model={priced()}"}, EVERYWHERE),
            "unknown": Thing({"?": "model=nothing"}),
        },
        "person": {"own": Thing({"pk": somebody.pk}, EVERYWHERE), **unknown},
        "guest": {"own": Thing({"pk": guest.pk}, EVERYWHERE), "no guest": Thing({"pk": somebody.pk})},
        "session": {
            "own": Thing({"pk": somebody.pk, "mark": "0" * 16}, EVERYWHERE),
            "unknown": Thing({"pk": 10**9, "mark": "0" * 16}),
        },
        "grant": {"own": Thing({"pk": somebody.role_grants.get().pk}, EVERYWHERE), **unknown},
        "unlinked": {
            "own": Thing({"pk": unlinked.pk}, EVERYWHERE),
            "linked": Thing({"pk": somebody.pk}),
            **unknown,
        },
    }


def _things_of_notifications(somebody: Person) -> dict[str, dict[str, Thing]]:
    """A webhook whose address nobody posts to, somebody who gets every alert, and what they were told."""
    webhook, _ = add_webhook(
        name="Duty", format="standard", address="https://127.0.0.1/in", kinds=[], actor=ACTOR
    )
    recipient = add_recipient(somebody, actor=ACTOR)
    notify(Kind.OPERATIONS, title="Something", text="…", link="", people=[somebody], once="something")
    found = {"webhook": webhook.pk, "recipient": recipient.pk}
    found["delivery"] = Delivery.objects.get(person=somebody).pk
    return {
        kind: {"own": Thing({"pk": pk}, EVERYWHERE), "unknown": Thing({"pk": 10**9})}
        for kind, pk in found.items()
    }


def _request(about: Project) -> Request:
    """A raise that the project's owner asks for; nobody of the house did."""
    values = {"metric": "spend", "window": "week", "amount": "5"}
    key, label = scopes.project(about.pk), label_of(about)
    limit = set_limit(scope_key=key, label=label, actor=ACTOR, **values)  # type: ignore[arg-type]
    owner = owners_of(about)[0]
    assert limit is not None
    return ask_for_raise(limit=limit, amount=9 * 10**9, requester=owner, actor=ACTOR, reason="the campaign")


def _refusal(where: Project, whose: Person, occurred: datetime) -> Refusal:
    moment = int(occurred.timestamp() * 1000)
    number = uuid.UUID(int=moment << 80 | 7 << 76 | 2 << 62 | uuid.uuid4().int >> 66)
    return Refusal.objects.create(
        decision_id=number,
        occurred=occurred,
        code="limit_exceeded",
        gateway="gateway00000",
        request_id=number.hex,
        credential="credential00",
        project=where.pk,
        group=where.group_id,
        person=whose.pk,
        model="gpt-5-mini",
    )

"""Make people, groups, projects and credentials of the sample with the portal's own services, each once."""

import random
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from apikeys.models import ApiKey
from apikeys.services import issue_api_key
from audit.actors import Actor
from groups.models import Group
from groups.services import create_group, set_members
from groups.services import label_of as group_label
from portal.accounts.entra.id_token import Claims
from portal.accounts.models import Person
from portal.accounts.policy import APP_ROLES
from portal.accounts.services import person_for_claims
from portal.decision.services import set_limit
from portal.demo.identity.directory import Account, Directory
from portal.demo.sample.plan import GROUPS, PROJECTS, TAGS, ProjectPlan
from portal.gateway.models import Gateway
from portal.gateway.services import register_gateway
from portal.spend import scopes
from portal.spend.models import Limit
from projects.models import GroupAccess, Membership, Project
from projects.services import add_member, admit_group, create_project, target_of
from projects.services import label_of as project_label
from tokens.models import UserToken
from tokens.services import issue_token

# Projects that a whole group may use.
_OPEN_TO = {"dev-assist": "engineering", "cs-chat": "customer-service", "data-lab": "data"}
_REASON = "Sample organization"


def people(actor: Actor) -> dict[str, Person]:
    """Return the directory's people by key: those of the groups, with the roles that Entra ID assigns them."""
    directory = Directory()
    in_groups = {key for plan in GROUPS for key in directory.groups[plan.directory].people}
    found = {}
    for account in directory.people.values():
        if (
            account.home
            and account.enabled
            and not account.guest
            and (account.roles or account.key in in_groups)
        ):
            found[account.key] = _person(account, actor)
    return found


def _person(account: Account, actor: Actor) -> Person:
    known = Person.objects.filter(tid=UUID(account.tenant), oid=UUID(account.oid)).first()
    if known is not None:
        return known
    claims = Claims(
        tid=UUID(account.tenant),
        oid=UUID(account.oid),
        name=account.name,
        email=account.email,
        roles=frozenset(APP_ROLES[role] for role in account.roles),
        groups=None,
        names_groups=False,
        is_guest=False,
        sid="",
        login_hint="",
    )
    return person_for_claims(claims=claims, actor=actor)


def groups(known: dict[str, Person], actor: Actor) -> dict[str, Group]:
    """Return the groups by code, each with the members the directory lists."""
    directory, found = Directory(), {}
    for plan in GROUPS:
        group = Group.objects.current().filter(code=plan.code).first()
        listed = directory.groups[plan.directory]
        if group is None:
            group = create_group(
                code=plan.code, name=plan.name, entra_id=UUID(listed.oid), actor=actor, reason=_REASON
            )
        set_members(
            group=group, people=[known[key] for key in sorted(listed.people) if key in known], actor=actor
        )
        found[plan.code] = group
    return found


def projects(known: dict[str, Person], owning: dict[str, Group], actor: Actor) -> dict[str, Project]:
    """Return the projects by code, with owners; limits come when usage is booked."""
    found: dict[str, Project] = {}
    for plan in PROJECTS:
        project = Project.objects.filter(code=plan.code).first()
        if project is None:
            project = create_project(
                code=plan.code,
                name=plan.name,
                group=owning[plan.group],
                owners=[known[plan.owner]],
                description=plan.description,
                cost_centre=f"CC-{4100 + 10 * len(found)}",
                allowed_models=list(plan.allowed_models),
                tags=TAGS.get(plan.code, ()),
                actor=actor,
                reason=_REASON,
            )
        admitted = _OPEN_TO.get(plan.code)
        if admitted and not GroupAccess.objects.filter(project=project, group=owning[admitted]).exists():
            admit_group(project=project, group=owning[admitted], actor=actor, reason=_REASON)
        found[plan.code] = project
    return found


def credentials(
    known: dict[str, Person], made: dict[str, Project], chance: random.Random, actor: Actor
) -> None:
    """Issue user tokens and API keys; their secrets are thrown away."""
    directory = Directory()
    for plan in PROJECTS:
        project = made[plan.code]
        holders = _holders(plan, known, directory)
        for index, key in enumerate(holders):
            person = known[key]
            days = (90, 180, 30, 365, 90, 5, 12)[(index + len(plan.code)) % 7]
            if UserToken.objects.filter(project=project, person=person).exists():
                continue
            if (
                plan.code not in _OPEN_TO
                and not Membership.objects.filter(project=project, person=person).exists()
            ):
                add_member(project=project, person=person, actor=actor)
            issue_token(
                project=project,
                person=person,
                name=("Laptop", "Editor", "Workbench", "Notebook")[index % 4],
                days=days,
                actor=actor,
            )
        for name in plan.keys:
            if not ApiKey.objects.filter(project=project, name=name).exists():
                days = 365 if len(name) % 2 else 180
                issue_api_key(project=project, name=name, days=days, owner=known[plan.owner], actor=actor)
    _age(chance)


def _holders(plan: ProjectPlan, known: dict[str, Person], directory: Directory) -> list[str]:
    listed = next(group.directory for group in GROUPS if group.code == plan.group)
    colleagues = sorted(key for key in directory.groups[listed].people if key in known and key != plan.owner)
    start = len(plan.name) % max(1, len(colleagues))
    return [plan.owner, *colleagues[start:], *colleagues[:start]][: plan.tokens]


def _age(chance: random.Random) -> None:
    """Let credentials look as old as a month of usage needs them to be."""
    now = timezone.now()
    for model, most in ((UserToken, 60), (ApiKey, 150)):
        for row in model.objects.order_by("pk"):
            model.objects.filter(pk=row.pk).update(
                created=now - timedelta(days=chance.randint(33, most), hours=3)
            )
    Membership.objects.update(added=now - timedelta(days=62))
    Project.objects.update(created=now - timedelta(days=70))
    Group.objects.update(created=now - timedelta(days=75))


def gateways(names: tuple[str, ...], actor: Actor) -> list[tuple[Gateway, str]]:
    """Return the gateways; the secret only of those that are new."""
    found = []
    for name in names:
        gateway = Gateway.objects.filter(name=name, revoked__isnull=True).first()
        found.append((gateway, "") if gateway else register_gateway(name=name, actor=actor, reason=_REASON))
    return found


def limits(owning: dict[str, Group], made: dict[str, Project], actor: Actor) -> None:
    """Set the limits of groups and projects that are not there yet; each begins with what is booked."""
    for plan in GROUPS:
        group = owning[plan.code]
        for window, amount in (("day", plan.day_limit), ("month", plan.month_limit)):
            _limit(scopes.group(group.pk), group_label(group), "spend", window, amount, actor, group=group.pk)
    for project_plan in PROJECTS:
        project = made[project_plan.code]
        key, label = scopes.project(project.pk), project_label(project)
        wanted = (
            (key, label, "spend", "day", project_plan.day_limit),
            (key, label, "spend", "month", project_plan.month_limit),
            (key, label, "requests", "minute", project_plan.requests_per_minute),
            (
                scopes.project_each_user(project.pk),
                f"Each user of project {project.name}",
                *("spend", "day", project_plan.each_user),
            ),
        )
        for scope_key, name, metric, window, amount in wanted:
            _limit(scope_key, name, metric, window, amount, actor, project=project)


def _limit(
    scope_key: str,
    label: str,
    metric: str,
    window: str,
    amount: int | None,
    actor: Actor,
    *,
    project: Project | None = None,
    group: int | None = None,
) -> None:
    if amount is None or Limit.objects.filter(scope_key=scope_key, metric=metric, window=window).exists():
        return
    set_limit(
        scope_key=scope_key,
        label=label,
        metric=metric,
        window=window,
        amount=amount,
        actor=actor,
        project=project.pk if project else None,
        group=project.group_id if project else group,
        target=target_of(project) if project else None,
        reason=_REASON,
    )

"""What happened in the sample organization since: roles, limits of every kind, a suspension, a rotation, a request."""

from collections.abc import Mapping

from django.utils import timezone

from apikeys.models import ApiKey
from apikeys.rotation import rotate_api_key
from apikeys.services import label_of as key_label
from apikeys.services import suspend_api_key
from audit.actors import Actor
from groups.models import Group
from portal.accounts.actors import person_label
from portal.accounts.models import Person
from portal.accounts.policy import Role
from portal.accounts.services import grant_access
from portal.approvals.models import Request
from portal.decision import check
from portal.decision.services import set_limit
from portal.demo.sample.plan import GPT, SONNET
from portal.lib.money import to_nano
from portal.limits.requests import ask_for_raise
from portal.notifications.models import Delivery, Severity
from portal.spend import scopes
from portal.spend.models import Limit
from projects.models import Project
from tokens.models import UserToken
from tokens.services import suspend_token

_ADMINISTRATORS = {"customer-service": "ines.moreau", "underwriting": "hannah.lindqvist"}
_REASON = "Sample organization"


def give_roles(known: Mapping[str, Person], owning: Mapping[str, Group], actor: Actor) -> None:
    """Let two people administer a group each."""
    for code, who in _ADMINISTRATORS.items():
        group, person = owning[code], known[who]
        if not person.role_grants.filter(role=Role.GROUP_ADMIN, group=group).exists():
            grant_access(
                person=person, role=Role.GROUP_ADMIN, group=group.pk, actor=actor, reason="Heads the group"
            )


def set_limits(made: Mapping[str, Project], owning: Mapping[str, Group], actor: Actor) -> None:
    """Set one limit of each further kind: observing, for a model, a week, a user, a key, calls in flight.

    None of them decides: what is enforced is far above what is used. None is on the organization or on each user.
    """
    key = ApiKey.objects.get(project=made["doc-search"], name="search-api")
    chat, tools = made["cs-chat"], made["dev-assist"]
    member = UserToken.objects.filter(project=tools).select_related("person").earliest("pk").person
    engineering = owning["engineering"]
    share = scopes.project_group(tools.pk, engineering.pk)
    wanted = (
        (scopes.group(owning["data"].pk), "Group Data & analytics", "spend", "week", 900, "", "observe"),
        (scopes.project(chat.pk), f"Project {chat.name}", "spend", "month", 9_000, GPT, "enforce"),
        (scopes.project(chat.pk), f"Project {chat.name}", "concurrency", "none", 200, "", "enforce"),
        (scopes.project(tools.pk), f"Project {tools.name}", "tokens", "day", 400_000_000, SONNET, "observe"),
        (share, f"Group {engineering.name} in {tools.name}", "spend", "month", 7_000, "", "enforce"),
        (
            scopes.project_user(tools.pk, member.pk),
            f"{member} in {tools.name}",
            *("spend", "day", 300, "", "enforce"),
        ),
        (scopes.credential(key.key_id), key_label(key), "spend", "day", 120, "", "enforce"),
        (scopes.credential(key.key_id), key_label(key), "requests", "minute", 600, "", "enforce"),
    )
    for scope_key, label, metric, window, amount, model, mode in wanted:
        if Limit.objects.filter(scope_key=scope_key, metric=metric, window=window, model=model).exists():
            continue
        set_limit(
            scope_key=scope_key,
            label=label,
            metric=metric,
            window=window,
            model=model,
            amount=amount,
            mode=mode,
            actor=actor,
            reason=_REASON,
        )


def change_credentials(made: Mapping[str, Project], actor: Actor) -> None:
    """Suspend a token and a key, and rotate a key, whose previous secret works on for some days."""
    token = UserToken.objects.active().filter(project=made["legal-review"]).latest("pk")
    if not UserToken.objects.filter(project=made["legal-review"], suspended__isnull=False).exists():
        suspend_token(token=token, reason="Laptop lost; until it is found", actor=actor)
    idle = ApiKey.objects.get(project=made["hr-help"], name="intranet")
    suspend_api_key(key=idle, reason="The intranet moves; until Monday", actor=actor)
    rotating = ApiKey.objects.get(project=made["claims-triage"], name="triage-batch")
    if rotating.rotated is None:
        rotate_api_key(key=rotating, overlap_hours=72, actor=actor, reason="Yearly rotation")


def ask(known: Mapping[str, Person], made: Mapping[str, Project]) -> None:
    """Let an owner ask for a raise; it waits for a decision."""
    project, owner = made["mkt-copy"], known["sofia.duarte"]
    limit = Limit.objects.get(scope_key=scopes.project(project.pk), metric="spend", window="month", model="")
    if not Request.objects.filter(project=project).exists():
        ask_for_raise(
            limit=limit,
            amount=to_nano(2_000),
            requester=owner,
            actor=Actor("user", str(owner.pk), person_label(owner)),
            reason="The autumn campaign starts a week early.",
        )


def tell(known: Mapping[str, Person], actor: Actor) -> None:
    """Find what people are to be told, and let the administrator have seen what is for information only."""
    check.check_limits(actor)
    Delivery.objects.filter(
        person=known["elena.marsh"], message__severity=Severity.INFO, seen__isnull=True
    ).update(seen=timezone.now())

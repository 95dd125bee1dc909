"""Issue, change, suspend and revoke API keys."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apikeys.models import ApiKey
from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.accounts.models import Person
from portal.credentials import digests
from portal.credentials.validity import beginning, life_of
from portal.decision import subjects
from portal.decision.services import set_limit
from portal.lib.errors import RuleBroken, refuse_if_changed
from portal.lib.names import checked_name
from portal.lib.networks import checked_networks
from portal.spend import scopes
from projects.models import Project
from projects.services import publish_named_users

Cause = ApiKey.Cause


def target_of(key: ApiKey) -> Target:
    """Return the key as the audit log names it: never its secret."""
    return Target("api_key", key.key_id, f"{key.name} ({key.hint})")


def label_of(key: ApiKey) -> str:
    """Return how a refusal names the key."""
    return f"API key {key.name}"


@transaction.atomic(durable=True)
def issue_api_key(
    *,
    project: Project,
    name: str,
    days: int | None = None,
    never_expires: bool = False,
    not_before: datetime | None = None,
    owner: Person | None = None,
    deputy: Person | None = None,
    allowed_models: list[str] | None = None,
    networks: list[str] | None = None,
    names_users: bool = False,
    daily_limit: Decimal | None = None,
    monthly_limit: Decimal | None = None,
    actor: Actor,
    reason: str = "",
) -> tuple[ApiKey, str]:
    """Issue a key for a service of the project; return it with its secret, which is kept nowhere."""
    project = Project.objects.select_for_update().get(pk=project.pk)
    if project.state == Project.State.ARCHIVED:
        raise RuleBroken(f"{project.name} is archived. Restore it before issuing keys.")
    not_before = beginning(not_before)
    issued = digests.issue("api_key")
    key = ApiKey.objects.create(
        key_id=issued.key_id,
        pepper_id=issued.pepper_id,
        digest=issued.digest,
        hint=issued.hint,
        created_by=actor.display,
        not_before=not_before,
        expires=None if never_expires else (not_before or timezone.now()) + life_of(days),
        project=project,
        name=_free_name(project, name),
        owner=owner,
        deputy=_checked_deputy(owner, deputy),
        allowed_models=allowed_models or None,
        networks=checked_networks(networks),
        names_users=names_users,
    )
    publish(key)
    given = {field: getattr(key, field) for field in _CHANGEABLE}
    note(
        Action.API_KEY_ISSUED,
        key,
        {field: (None, _shown(value)) for field, value in given.items() if value}
        | ({"not_before": (None, not_before)} if not_before else {})
        | {"expires": (None, key.expires)},
        actor,
        reason,
    )
    for window, amount in (("day", daily_limit), ("month", monthly_limit)):
        if amount is not None:
            set_limit(
                scope_key=scopes.credential(key.key_id),
                label=label_of(key),
                metric="spend",
                window=window,
                amount=amount,
                target=target_of(key),
                project=project.pk,
                group=project.group_id,
                actor=actor,
            )
    return key, issued.secret


@transaction.atomic(durable=True)
def update_api_key(
    *, key: ApiKey, seen: dict[str, Any] | None = None, actor: Actor, reason: str = "", **fields: Any
) -> ApiKey:
    """Change name, owner, deputy, allowed models, addresses or whether the key names its users.

    Refused when the key is no longer as ``seen`` (None: whatever it is).
    """
    key = locked(key)
    if key.revoked:
        raise RuleBroken("This key is revoked; nothing about it can be changed.")
    if unknown := fields.keys() - set(_CHANGEABLE):
        raise TypeError(f"a key has no {', '.join(sorted(unknown))} to change")
    refuse_if_changed(seen, {field: getattr(key, field) for field in _CHANGEABLE})
    if "name" in fields:
        fields["name"] = _free_name(key.project, fields["name"], key)
    if "allowed_models" in fields:
        fields["allowed_models"] = fields["allowed_models"] or None
    if "networks" in fields:
        fields["networks"] = checked_networks(fields["networks"])
    _checked_deputy(fields.get("owner", key.owner), fields.get("deputy", key.deputy))
    changes = {
        field: (_shown(getattr(key, field)), _shown(value))
        for field, value in fields.items()
        if getattr(key, field) != value
    }
    if not changes:
        return key
    for field, value in fields.items():
        setattr(key, field, value)
    key.save(update_fields=list(fields))
    publish(key)
    if "name" in changes:
        subjects.relabel(scopes.credential(key.key_id), label_of(key))
    note(Action.API_KEY_CHANGED, key, changes, actor, reason)
    return key


def revoke_api_key(*, key: ApiKey, actor: Actor, reason: str = "") -> ApiKey:
    """Revoke the key for good, with every secret it has; the very next call with it is refused."""
    with subjects.denying(), transaction.atomic(durable=True):
        key = locked(key)
        if key.revoked:
            return key
        key.revoked = timezone.now()
        key.save(update_fields=["revoked"])
        publish(key)
        note(Action.API_KEY_REVOKED, key, {"revoked": (None, key.revoked)}, actor, reason)
    return key


def revoke_api_keys(*, keys: Iterable[ApiKey], actor: Actor, reason: str = "") -> list[ApiKey]:
    """Revoke several, each for itself; return those that were not revoked before."""
    return [revoke_api_key(key=key, actor=actor, reason=reason) for key in keys if key.revoked is None]


def suspend_api_key(*, key: ApiKey, reason: str, cause: str = Cause.BY_HAND, actor: Actor) -> ApiKey:
    """Switch the key off for the time being; the very next call with it is refused."""
    with subjects.denying(), transaction.atomic():
        key = locked(key)
        if key.revoked:
            raise RuleBroken("This key is revoked, which is final.")
        if key.suspended:
            return key
        key.suspended, key.suspended_for, key.cause = timezone.now(), reason[:300], cause
        _save_suspension(key)
        note(Action.API_KEY_SUSPENDED, key, {"suspended": (None, key.suspended)}, actor, reason)
    return key


def resume_api_key(*, key: ApiKey, actor: Actor, reason: str = "") -> ApiKey:
    """End a suspension, whatever caused it."""
    with transaction.atomic():
        key = locked(key)
        if key.revoked:
            raise RuleBroken("This key is revoked, which is final.")
        if key.suspended is None:
            return key
        before = key.suspended
        key.suspended, key.suspended_for, key.cause = None, "", Cause.NONE
        key.resumed = timezone.now()
        _save_suspension(key)
        note(Action.API_KEY_RESUMED, key, {"suspended": (before, None)}, actor, reason)
    return key


def locked(key: ApiKey) -> ApiKey:
    """Return the key as it is now, and let nobody else change it before the transaction ends."""
    keys: QuerySet[ApiKey] = ApiKey.objects.select_for_update(of=("self",))
    return keys.select_related("project", "owner", "deputy").get(pk=key.pk)


def publish(key: ApiKey) -> None:
    """Write what the decision must know of the key, in the current transaction."""
    subjects.put_credential(
        key_id=key.key_id,
        kind="api_key",
        pepper_id=key.pepper_id,
        digest=bytes(key.digest),
        state=key.state,
        not_before=key.not_before,
        expires=key.expires,
        project=key.project_id,
        models=key.allowed_models,
        networks=key.networks,
        user=key.name,
        previous=key.previous,
        names_users=key.names_users,
    )
    if key.names_users and key.revoked is None:
        publish_named_users(key.project)


_CHANGEABLE = ("name", "owner", "deputy", "allowed_models", "networks", "names_users")


def _shown(value: Any) -> Any:
    return str(value) if isinstance(value, Person) else value


def _free_name(project: Project, name: str, key: ApiKey | None = None) -> str:
    name = checked_name(name)
    others = ApiKey.objects.current().filter(project=project, name=name)
    if (others.exclude(pk=key.pk) if key else others).exists():
        raise RuleBroken(f"{project.name} has an active key named {name}. Choose another name.", field="name")
    return name


def _checked_deputy(owner: Person | None, deputy: Person | None) -> Person | None:
    if deputy is not None and deputy == owner:
        raise RuleBroken("Choose somebody else than the owner, or nobody.", field="deputy")
    return deputy


def _save_suspension(key: ApiKey) -> None:
    key.save(update_fields=["suspended", "suspended_for", "cause", "resumed"])
    publish(key)


def note(action: Action, key: ApiKey, changes: dict[str, tuple[Any, Any]], actor: Actor, reason: str) -> None:
    """Write to the audit log what was done to the key, in the current transaction."""
    record(
        action,
        actor=actor,
        target=target_of(key),
        project=key.project_id,
        group=key.project.group_id,
        changes=changes,
        comment=reason,
    )


def refresh_users() -> int:
    """Write anew whom the keys of each project may name, where that has changed; return in how many projects.

    Memberships write it themselves; this follows what the directory changes: names, addresses and groups.
    """
    naming = ApiKey.objects.current().filter(names_users=True)
    changed = 0
    for project in Project.objects.filter(pk__in=naming.values("project")):
        with transaction.atomic():
            changed += publish_named_users(project)
    return changed

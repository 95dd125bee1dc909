"""Issue and revoke API keys."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from apikeys.models import ApiKey
from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.accounts.models import Person
from portal.credentials import digests
from portal.decision import subjects
from portal.lib.errors import RuleBroken
from portal.lib.names import checked_name
from portal.organization.selectors import current as current_organization
from projects.models import Project


def target_of(key: ApiKey) -> Target:
    """Return the key as the audit log names it: never its secret."""
    return Target("api_key", key.key_id, f"{key.name} ({key.hint})")


@transaction.atomic(durable=True)
def issue_api_key(
    *,
    project: Project,
    name: str,
    days: int | None = None,
    owner: Person | None = None,
    actor: Actor,
    reason: str = "",
) -> tuple[ApiKey, str]:
    """Issue a key for a service of the project; return it with its secret, which is kept nowhere."""
    project = Project.objects.select_for_update().get(pk=project.pk)
    if project.state == Project.State.ARCHIVED:
        raise RuleBroken(f"{project.name} is archived. Restore it before issuing keys.")
    name = checked_name(name)
    if ApiKey.objects.active().filter(project=project, name=name).exists():
        raise RuleBroken(f"{project.name} has an active key named {name}. Choose another name.", field="name")
    policy = current_organization()
    life = policy.token_days_default if days is None else days
    if not 1 <= life <= policy.token_days_max:
        raise RuleBroken(f"Choose 1 to {policy.token_days_max} days.", field="days")
    issued = digests.issue("api_key")
    key = ApiKey.objects.create(
        key_id=issued.key_id,
        pepper_id=issued.pepper_id,
        digest=issued.digest,
        hint=issued.hint,
        created_by=actor.display,
        expires=timezone.now() + timedelta(days=life),
        project=project,
        name=name,
        owner=owner,
    )
    _publish(key, "active")
    record(
        Action.API_KEY_ISSUED,
        actor=actor,
        target=target_of(key),
        project=project.pk,
        group=project.group_id,
        changes={"name": (None, name), "expires": (None, key.expires), "owner": (None, owner and str(owner))},
        comment=reason,
    )
    return key, issued.secret


def revoke_api_key(*, key: ApiKey, actor: Actor, reason: str = "") -> ApiKey:
    """Revoke the key for good; the very next call with it is refused."""
    with subjects.denying(), transaction.atomic(durable=True):
        key = ApiKey.objects.select_for_update(of=("self",)).select_related("project").get(pk=key.pk)
        if key.revoked:
            return key
        key.revoked = timezone.now()
        key.save(update_fields=["revoked"])
        _publish(key, "revoked")
        record(
            Action.API_KEY_REVOKED,
            actor=actor,
            target=target_of(key),
            project=key.project_id,
            group=key.project.group_id,
            changes={"revoked": (None, key.revoked)},
            comment=reason,
        )
    return key


def _publish(key: ApiKey, state: str) -> None:
    subjects.put_credential(
        key_id=key.key_id,
        kind="api_key",
        pepper_id=key.pepper_id,
        digest=bytes(key.digest),
        state=state,
        expires=key.expires,
        project=key.project_id,
        user=key.name,
    )

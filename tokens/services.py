"""Issue and revoke user tokens."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

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
from projects.services import group_of, may_hold_tokens
from tokens.models import UserToken


def target_of(token: UserToken) -> Target:
    """Return the token as the audit log names it: never its secret."""
    return Target("user_token", token.key_id, f"{token.name} of {token.person} ({token.hint})")


def days_allowed(days: int | None) -> int:
    """Return the life of a credential in days, the organization's default if none was chosen."""
    policy = current_organization()
    if days is None:
        return policy.token_days_default
    if not 1 <= days <= policy.token_days_max:
        raise RuleBroken(f"Choose 1 to {policy.token_days_max} days.", field="days")
    return days


@transaction.atomic(durable=True)
def issue_token(
    *,
    project: Project,
    person: Person,
    name: str = "",
    days: int | None = None,
    actor: Actor,
    reason: str = "",
) -> tuple[UserToken, str]:
    """Issue a token to a member of the project; return it with its secret, which is kept nowhere."""
    project = Project.objects.select_for_update().get(pk=project.pk)
    if project.state == Project.State.ARCHIVED:
        raise RuleBroken(f"{project.name} is archived. Restore it before issuing tokens.")
    if not person.is_active:
        raise RuleBroken(f"{person} is disabled and can hold no token.", field="person")
    if not may_hold_tokens(project, person):
        raise RuleBroken(f"{person} is not a member of {project.name}. Add them first.", field="person")
    life = days_allowed(days)
    issued = digests.issue("user_token")
    group = group_of(project, person)
    token = UserToken.objects.create(
        key_id=issued.key_id,
        pepper_id=issued.pepper_id,
        digest=issued.digest,
        hint=issued.hint,
        created_by=actor.display,
        expires=timezone.now() + timedelta(days=life),
        project=project,
        person=person,
        name=checked_name(name or "User token"),
        group=group,
    )
    _publish(token, "active")
    record(
        Action.TOKEN_ISSUED,
        actor=actor,
        target=target_of(token),
        project=project.pk,
        group=project.group_id,
        changes={"person": (None, str(person)), "expires": (None, token.expires)},
        comment=reason,
    )
    return token, issued.secret


def revoke_token(*, token: UserToken, actor: Actor, reason: str = "") -> UserToken:
    """Revoke the token for good; the very next call with it is refused."""
    with subjects.denying(), transaction.atomic(durable=True):
        token = UserToken.objects.select_for_update().select_related("project", "person").get(pk=token.pk)
        if token.revoked:
            return token
        token.revoked = timezone.now()
        token.save(update_fields=["revoked"])
        _publish(token, "revoked")
        record(
            Action.TOKEN_REVOKED,
            actor=actor,
            target=target_of(token),
            project=token.project_id,
            group=token.project.group_id,
            changes={"revoked": (None, token.revoked)},
            comment=reason,
        )
    return token


def _publish(token: UserToken, state: str) -> None:
    subjects.put_credential(
        key_id=token.key_id,
        kind="user_token",
        pepper_id=token.pepper_id,
        digest=bytes(token.digest),
        state=state,
        expires=token.expires,
        project=token.project_id,
        person=token.person_id,
        draws_on=token.group_id,
        is_member=may_hold_tokens(token.project, token.person),
        user=token.person.email or token.person.name,
    )

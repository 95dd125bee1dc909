"""What somebody is in a project: a member becomes an owner, an owner a member."""

from django.db import transaction

from audit.actions import Action
from audit.actors import Actor
from audit.services import record
from portal.accounts.models import Person
from portal.accounts.services import refuse_toxic
from portal.lib.errors import RuleBroken
from portal.spend.touched import touch
from projects.models import Membership, Project
from projects.services import keep_an_owner, target_of


@transaction.atomic(durable=True)
def change_role(*, project: Project, person: Person, role: str, actor: Actor, reason: str = "") -> Membership:
    """Make a person of the project its owner or its member; the only owner stays one."""
    if role not in Membership.Role.values:
        raise RuleBroken("Choose owner or member.", field="role")
    membership = keep_an_owner(project, person, unless=role)
    before = membership.role
    if before == role:
        return membership
    if role == Membership.Role.OWNER:
        if not person.is_active:
            raise RuleBroken(f"{person} is disabled and cannot become an owner.", field="person")
        refuse_toxic(person, role)
    membership.role = role
    membership.save(update_fields=["role"])
    touch([project.pk])
    record(
        Action.MEMBER_CHANGED,
        actor=actor,
        target=target_of(project),
        project=project.pk,
        group=project.group_id,
        changes={str(person): (before, role)},
        comment=reason,
    )
    return membership

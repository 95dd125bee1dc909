"""Register and delete groups."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from groups.models import Group, GroupMember
from portal.accounts.models import Person, RoleGrant
from portal.accounts.policy import Role
from portal.accounts.selectors import roles_granted
from portal.decision import subjects
from portal.decision.models import Subject
from portal.decision.services import set_limit
from portal.lib.errors import RuleBroken, refuse_if_changed
from portal.lib.names import checked_code, checked_name
from portal.spend import scopes
from portal.spend.models import Limit
from portal.spend.touched import touch


def label_of(group: Group) -> str:
    """Return how a refusal names the group."""
    return f"Group {group.name}"


def target_of(group: Group) -> Target:
    """Return the group as the audit log names it."""
    return Target("group", str(group.pk), f"{group.name} ({group.code})")


@transaction.atomic(durable=True)
def create_group(
    *, code: str, name: str, entra_id: UUID | None = None, actor: Actor, reason: str = ""
) -> Group:
    """Register a group; its code is unique among the groups that exist."""
    code, name = checked_code(code), checked_name(name)
    if Group.objects.current().filter(code=code).exists():
        raise RuleBroken(f"The code {code} is taken by another group. Choose another.", field="code")
    if entra_id and (other := Group.objects.current().filter(entra_id=entra_id).first()):
        raise RuleBroken(f"This Entra ID group is registered as {other.name}.", field="entra_id")
    group = Group.objects.create(code=code, name=name, entra_id=entra_id)
    record(
        Action.GROUP_CREATED,
        actor=actor,
        target=target_of(group),
        group=group.pk,
        changes={"code": (None, code), "name": (None, name), "entra_id": (None, entra_id)},
        comment=reason,
    )
    return group


def editable(group: Group) -> dict[str, Any]:
    """Return what can be changed about the group, as forms show it."""
    return {"name": group.name, "code": group.code, "entra_id": group.entra_id}


def update_group(
    *,
    group: Group,
    name: str,
    code: str,
    entra_id: UUID | None,
    actor: Actor,
    reason: str = "",
    seen: Mapping[str, Any] | None = None,
) -> Group:
    """Change name, code or the group of Entra ID; whoever was a member through another one loses that access at once.

    Raises ChangedMeanwhile when one of the values in ``seen`` is no longer what the person saw.
    """
    code, name = checked_code(code), checked_name(name)
    with subjects.denying(), transaction.atomic(durable=True):
        group = Group.objects.select_for_update().get(pk=group.pk)
        if group.deleted:
            raise RuleBroken(f"{group.name} is deleted.")
        before = editable(group)
        refuse_if_changed(seen, before)
        others = Group.objects.current().exclude(pk=group.pk)
        if others.filter(code=code).exists():
            raise RuleBroken(f"The code {code} is taken by another group. Choose another.", field="code")
        if entra_id and (other := others.filter(entra_id=entra_id).first()):
            raise RuleBroken(f"This Entra ID group is registered as {other.name}.", field="entra_id")
        wanted = {"name": name, "code": code, "entra_id": entra_id}
        changes = {field: (before[field], value) for field, value in wanted.items() if before[field] != value}
        if not changes:
            return group
        for field, (_, after) in changes.items():
            setattr(group, field, after)
        if "entra_id" in changes:
            group.looked_up, group.is_missing = None, False
            people = set(group.members.values_list("person", flat=True))
            GroupMember.objects.filter(group=group).delete()
            _publish_access(set(group.project_access.values_list("project", flat=True)), people)
        group.save()
        if "name" in changes:
            subjects.relabel(scopes.group(group.pk), label_of(group))
            touch(group.projects.values_list("pk", flat=True))
        record(
            Action.GROUP_CHANGED,
            actor=actor,
            target=target_of(group),
            group=group.pk,
            changes=changes,
            comment=reason,
        )
    return group


@transaction.atomic(durable=True)
def remove_group_admin(*, group: Group, person: Person, actor: Actor, reason: str = "") -> None:
    """Take the administration of this group from the person; what they administer besides stays."""
    grants = RoleGrant.objects.select_for_update().filter(group=group, person=person, role=Role.GROUP_ADMIN)
    before = roles_granted(person)
    if not grants.delete()[0]:
        raise RuleBroken(f"{person} does not administer {group.name}.", field="person")
    record(
        Action.ACCESS_REVOKED,
        actor=actor,
        target=Target("person", str(person.pk), str(person)),
        group=group.pk,
        changes={"roles": (before, roles_granted(person))},
        comment=reason,
    )


def delete_group(*, group: Group, actor: Actor, reason: str = "") -> None:
    """Delete a group that owns no project; its spend and audit entries stay."""
    with subjects.denying(), transaction.atomic(durable=True):
        group = Group.objects.select_for_update().get(pk=group.pk)
        if group.deleted:
            raise RuleBroken(f"{group.name} is deleted already.")
        owned = [project.code for project in group.projects.order_by("code")[:6]]
        if owned:
            names = ", ".join(owned[:5]) + (" and more" if len(owned) > 5 else "")
            raise RuleBroken(f"{group.name} owns projects: {names}. Move them to another group first.")
        for limit in Limit.objects.filter(scope_key=scopes.group(group.pk)):
            set_limit(
                scope_key=limit.scope_key,
                label=label_of(group),
                metric=limit.metric,
                window=limit.window,
                model=limit.model,
                amount=None,
                actor=actor,
                reason="The group is deleted.",
                target=target_of(group),
            )
        entries = list(group.project_access.select_related("project"))
        access = [entry.project.code for entry in entries]
        people = set(group.members.values_list("person", flat=True))
        group.project_access.all().delete()
        GroupMember.objects.filter(group=group).delete()
        grants = RoleGrant.objects.filter(group=group).select_related("person")
        administrators = [str(grant.person) for grant in grants.order_by("person__name")]
        grants.delete()
        _publish_access({entry.project_id for entry in entries}, people)
        group.deleted = timezone.now()
        group.save(update_fields=["deleted"])
        record(
            Action.GROUP_DELETED,
            actor=actor,
            target=target_of(group),
            group=group.pk,
            changes={
                "code": (group.code, None),
                "name": (group.name, None),
                "access_to": (access, []),
                "administrators": (administrators, []),
            },
            comment=reason,
        )


def set_members(*, group: Group, people: list[Person], actor: Actor) -> bool:
    """Note whom the directory lists in the group; return whether that changed.

    Whoever left and has access to a project through nothing else is refused there from the next call on.
    """
    now = {person.pk: person for person in people}
    with subjects.denying(), transaction.atomic(durable=True):
        group = Group.objects.select_for_update().get(pk=group.pk)
        if group.deleted:
            return False
        before = {member.person_id: member.person for member in group.members.select_related("person")}
        joined, left = now.keys() - before.keys(), before.keys() - now.keys()
        GroupMember.objects.filter(group=group, person__in=left).delete()
        GroupMember.objects.bulk_create(
            [GroupMember(group=group, person=now[pk]) for pk in joined], ignore_conflicts=True
        )
        Group.objects.filter(pk=group.pk).update(looked_up=timezone.now(), is_missing=False)
        if joined or left:
            _publish_access(set(group.project_access.values_list("project", flat=True)), joined | left)
            record(
                Action.GROUP_MEMBERS_CHANGED,
                actor=actor,
                target=target_of(group),
                group=group.pk,
                changes={
                    "joined": (None, sorted(str(now[pk]) for pk in joined)),
                    "left": (sorted(str(before[pk]) for pk in left), None),
                },
            )
    return bool(joined or left)


def note_groups_of(*, person: Person, entra_ids: Collection[UUID], actor: Actor) -> None:
    """Note which of the registered groups the directory lists the person in, as known at sign-in."""
    with subjects.denying(), transaction.atomic(durable=True):
        now = set(Group.objects.current().filter(entra_id__in=entra_ids))
        before = set(Group.objects.current().filter(entra_id__isnull=False, members__person=person))
        GroupMember.objects.filter(person=person, group__in=before - now).delete()
        GroupMember.objects.bulk_create(
            [GroupMember(group=group, person=person) for group in now - before], ignore_conflicts=True
        )
        for group in now ^ before:
            _publish_access(set(group.project_access.values_list("project", flat=True)), {person.pk})
            record(
                Action.GROUP_MEMBERS_CHANGED,
                actor=actor,
                target=target_of(group),
                group=group.pk,
                changes={"joined" if group in now else "left": (None, [str(person)])},
            )


@transaction.atomic(durable=True)
def note_missing(*, group: Group, actor: Actor) -> None:
    """Note that the directory no longer has the group; its members stay until somebody decides."""
    changed = Group.objects.filter(pk=group.pk, is_missing=False).update(is_missing=True)
    if changed:
        record(
            Action.GROUP_MEMBERS_CHANGED,
            actor=actor,
            target=target_of(group),
            group=group.pk,
            changes={"in_directory": (True, False)},
            comment="The directory no longer has the group.",
        )


def _publish_access(projects: Collection[int], people: Collection[int]) -> None:
    """Note on the people's tokens in the projects whether they still have access there."""
    key_ids = Person.objects.filter(pk__in=people, tokens__project__in=projects).values_list(
        "tokens__key_id", flat=True
    )
    held = Subject.objects.filter(key__in=[f"s:{key_id}" for key_id in key_ids]).order_by("key")
    for subject in held:
        project, person = subject.data["project"], subject.data["person"]
        is_member = (
            Person.objects.filter(pk=person)
            .filter(
                Q(memberships__project=project) | Q(group_memberships__group__project_access__project=project)
            )
            .exists()
        )
        if is_member != subject.data["is_member"]:
            subjects.set_membership([subject.key[2:]], is_member=is_member)

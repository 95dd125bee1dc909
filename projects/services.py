"""Create and change projects, their people and their state."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.db import transaction

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from groups.models import Group
from portal.accounts.models import Person
from portal.accounts.services import refuse_toxic
from portal.decision import subjects
from portal.decision.models import Subject
from portal.decision.services import lock_limits, set_limit
from portal.lib.errors import ChangedMeanwhile, RuleBroken, refuse_if_changed
from portal.lib.names import checked_code, checked_name, checked_tags
from portal.spend import scopes
from portal.spend.touched import touch
from projects.envelopes import refuse_beyond_in_place
from projects.models import GroupAccess, Membership, Project
from projects.selectors import people_who_may_hold_tokens


def label_of(project: Project) -> str:
    """Return how a refusal names the project."""
    return f"Project {project.name}"


def target_of(project: Project) -> Target:
    """Return the project as the audit log names it."""
    return Target("project", str(project.pk), f"{project.name} ({project.code})")


def editable(project: Project) -> dict[str, Any]:
    """Return what can be changed about the project, as forms show it."""
    return {
        "name": project.name,
        "description": project.description,
        "group": project.group,
        "cost_centre": project.cost_centre,
        "tags": project.tags,
        "members_issue_tokens": project.members_issue_tokens,
        "allowed_models": project.allowed_models,
    }


def publish(project: Project) -> None:
    """Write what the decision must know of the project, in the current transaction."""
    subjects.put_project(
        pk=project.pk,
        code=project.code,
        name=project.name,
        state=project.state,
        group=project.group_id,
        models=project.allowed_models,
    )


@transaction.atomic(durable=True)
def create_project(
    *,
    code: str,
    name: str,
    group: Group | None = None,
    owners: Iterable[Person] = (),
    daily_limit: Decimal | str | None = None,
    monthly_limit: Decimal | str | None = None,
    description: str = "",
    cost_centre: str = "",
    tags: Iterable[str] = (),
    allowed_models: list[str] | None = None,
    actor: Actor,
    reason: str = "",
) -> Project:
    """Create a project with its owners and spend limits; group, owners and limits may come later."""
    code, name = checked_code(code), checked_name(name)
    if other := Project.objects.filter(code=code).first():
        which = "an archived project" if other.state == Project.State.ARCHIVED else other.name
        raise RuleBroken(f"{code} is used by {which}. Try {code[:38]}-2.", field="code")
    if group is not None and group.deleted:
        raise RuleBroken(f"The group {group.name} is deleted. Choose another.", field="group")
    project = Project.objects.create(
        code=code,
        name=name,
        group=group,
        description=description.strip(),
        cost_centre=cost_centre.strip(),
        tags=checked_tags(tags),
        allowed_models=allowed_models or None,
    )
    publish(project)
    owners = list(owners)
    record(
        Action.PROJECT_CREATED,
        actor=actor,
        target=target_of(project),
        project=project.pk,
        group=project.group_id,
        changes={
            "code": (None, code),
            "name": (None, name),
            "group": (None, group and group.code),
            "owners": (None, [str(owner) for owner in owners]),
        },
        comment=reason,
    )
    for owner in owners:
        _add(project, owner, Membership.Role.OWNER, actor)
    for window, amount, field in (
        ("day", daily_limit, "daily_limit"),
        ("month", monthly_limit, "monthly_limit"),
    ):
        if amount is not None:
            _set_spend_limit(project, window, amount, field, actor)
    return project


def _set_spend_limit(project: Project, window: str, amount: Decimal | str, field: str, actor: Actor) -> None:
    try:
        set_limit(
            scope_key=scopes.project(project.pk),
            label=label_of(project),
            metric="spend",
            window=window,
            amount=amount,
            actor=actor,
            group=project.group_id,
            target=target_of(project),
        )
    except RuleBroken as error:
        raise RuleBroken(error.message, field=field) from error


@transaction.atomic(durable=True)
def update_project(
    *,
    project: Project,
    actor: Actor,
    reason: str = "",
    seen: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Project:
    """Change name, description, group, cost centre, tags or allowed models; usage booked before keeps its group.

    Raises ChangedMeanwhile when one of the values in ``seen`` is no longer what the person saw.
    """
    if "group" in fields:
        lock_limits(scopes.project(project.pk))
    project = Project.objects.select_for_update(of=("self",)).select_related("group").get(pk=project.pk)
    refuse_if_changed(seen, editable(project))
    if "name" in fields:
        fields["name"] = checked_name(fields["name"])
    group = fields.get("group")
    if group is not None and group.deleted:
        raise RuleBroken(f"The group {group.name} is deleted. Choose another.", field="group")
    if "tags" in fields:
        fields["tags"] = checked_tags(fields["tags"])
    if "allowed_models" in fields:
        fields["allowed_models"] = fields["allowed_models"] or None
    changes = {
        name: (getattr(project, name), value)
        for name, value in fields.items()
        if getattr(project, name) != value
    }
    if not changes:
        return project
    for name, (_, after) in changes.items():
        setattr(project, name, after)
    project.save()
    if "group" in changes:
        refuse_beyond_in_place(project)
    publish(project)
    touch([project.pk])
    if "name" in changes:
        subjects.relabel(scopes.project(project.pk), label_of(project))
    record(
        Action.PROJECT_CHANGED,
        actor=actor,
        target=target_of(project),
        project=project.pk,
        group=project.group_id,
        changes=changes,
        comment=reason,
    )
    return project


def set_project_state(
    *, project: Project, state: str, actor: Actor, reason: str = "", seen: str | None = None
) -> Project:
    """Make the project active, paused or archived. Pausing and archiving refuse the very next call.

    Raises ChangedMeanwhile when the state is no longer the one in ``seen``.
    """
    if state not in Project.State.values:
        raise RuleBroken(f"A project is one of: {', '.join(Project.State.values)}.", field="state")
    with subjects.denying(), transaction.atomic(durable=True):
        project = Project.objects.select_for_update().get(pk=project.pk)
        before = project.state
        if seen is not None and before not in (seen, state):
            raise ChangedMeanwhile({"state": before})
        if before == state:
            return project
        project.state = state
        project.save(update_fields=["state"])
        if before == Project.State.ARCHIVED:
            refuse_beyond_in_place(project)
        publish(project)
        record(
            Action.PROJECT_STATE_CHANGED,
            actor=actor,
            target=target_of(project),
            project=project.pk,
            group=project.group_id,
            changes={"state": (before, state)},
            comment=reason,
        )
    return project


def _add(project: Project, person: Person, role: str, actor: Actor, reason: str = "") -> Membership:
    if role == Membership.Role.OWNER:
        refuse_toxic(person, role)
    membership, is_new = Membership.objects.select_for_update().get_or_create(
        project=project, person=person, defaults={"role": role}
    )
    before = None if is_new else membership.role
    if before in (role, Membership.Role.OWNER):
        return membership
    membership.role = role
    membership.save(update_fields=["role"])
    _republish_membership(project, person, is_member=True)
    republish_named_users(project)
    record(
        Action.MEMBER_ADDED,
        actor=actor,
        target=target_of(project),
        project=project.pk,
        group=project.group_id,
        changes={str(person): (before, role)},
        comment=reason,
    )
    return membership


def publish_named_users(project: Project) -> bool:
    """Write whom the keys of the project may name in a call, in the current transaction; False: nothing changed.

    Its people by e-mail; an address that two of them share names nobody.
    """
    people: dict[str, list[tuple[int, str]]] = {}
    for person in people_who_may_hold_tokens(project).exclude(email=""):
        people.setdefault(person.email.lower(), []).append((person.pk, person.name))
    users = {email: found[0] for email, found in people.items() if len(found) == 1}
    written = Subject.objects.filter(pk=f"n:{project.pk}").first()
    if written and written.data["users"] == {email: list(named) for email, named in users.items()}:
        return False
    subjects.put_named_users(project.pk, users)
    return True


def republish_named_users(project: Project) -> None:
    """Write them anew where a key of the project names its users."""
    if Subject.objects.filter(pk=f"n:{project.pk}").exists():
        publish_named_users(project)


def _republish_membership(project: Project, person: Person, *, is_member: bool) -> None:
    touch([project.pk])
    held = project.tokens.filter(person=person).values_list("key_id", flat=True)
    subjects.set_membership(held, is_member=is_member)


@transaction.atomic(durable=True)
def add_member(
    *, project: Project, person: Person, role: str = "member", actor: Actor, reason: str = ""
) -> Membership:
    """Make the person a member or an owner of the project; an owner stays one."""
    if role not in Membership.Role.values:
        raise RuleBroken("Choose owner or member.", field="role")
    if not person.is_active:
        raise RuleBroken(f"{person} is disabled and cannot become a member.", field="person")
    return _add(project, person, role, actor, reason)


def keep_an_owner(project: Project, person: Person, *, unless: str = "") -> Membership:
    """Lock the place of a person in the project and return it; raise RuleBroken for the only owner.

    The project is locked first: of the last two owners who go at once, one stays. Who becomes, or may leave as, the
    role `unless` goes all the same.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    membership = Membership.objects.select_for_update().filter(project=project, person=person).first()
    if membership is None:
        raise RuleBroken(f"{person} is not a member of {project.name}.", field="person")
    owners = Membership.objects.filter(project=project, role=Membership.Role.OWNER)
    if membership.role == Membership.Role.OWNER != unless and owners.count() == 1:
        raise RuleBroken(f"{person} is the only owner of {project.name}. Add another owner first.")
    return membership


def remove_member(
    *, project: Project, person: Person, actor: Actor, reason: str = "", may_orphan: bool = False
) -> None:
    """Take the person out of the project; their tokens there are refused from the next call on.

    The only owner stays, unless it is the directory that takes the person out (`may_orphan`).
    """
    with subjects.denying(), transaction.atomic(durable=True):
        membership = keep_an_owner(project, person, unless="owner" if may_orphan else "")
        role = membership.role
        membership.delete()
        _republish_membership(project, person, is_member=may_hold_tokens(project, person))
        republish_named_users(project)
        record(
            Action.MEMBER_REMOVED,
            actor=actor,
            target=target_of(project),
            project=project.pk,
            group=project.group_id,
            changes={str(person): (role, None)},
            comment=reason,
        )


@transaction.atomic(durable=True)
def admit_group(*, project: Project, group: Group, actor: Actor, reason: str = "") -> GroupAccess:
    """Let the members of the group hold tokens in the project."""
    if group.deleted:
        raise RuleBroken(f"The group {group.name} is deleted. Choose another.", field="group")
    access, is_new = GroupAccess.objects.get_or_create(project=project, group=group)
    if is_new:
        for person in Person.objects.filter(
            group_memberships__group=group, tokens__project=project
        ).distinct():
            _republish_membership(project, person, is_member=True)
        republish_named_users(project)
        record(
            Action.GROUP_ADMITTED,
            actor=actor,
            target=target_of(project),
            project=project.pk,
            group=group.pk,
            changes={"group": (None, group.code)},
            comment=reason,
        )
    return access


def exclude_group(*, project: Project, group: Group, actor: Actor, reason: str = "") -> None:
    """End the access of the group; whoever has access through nothing else is refused from the next call on."""
    with subjects.denying(), transaction.atomic(durable=True):
        gone, _ = GroupAccess.objects.filter(project=project, group=group).delete()
        if not gone:
            raise RuleBroken(f"{group.name} has no access to {project.name}.", field="group")
        holders = Person.objects.filter(group_memberships__group=group, tokens__project=project).distinct()
        for person in holders:
            _republish_membership(project, person, is_member=may_hold_tokens(project, person))
        republish_named_users(project)
        record(
            Action.GROUP_EXCLUDED,
            actor=actor,
            target=target_of(project),
            project=project.pk,
            group=group.pk,
            changes={"group": (group.code, None)},
            comment=reason,
        )


def may_hold_tokens(project: Project, person: Person) -> bool:
    """Whether the person is a member, by name or through a group that has access."""
    if Membership.objects.filter(project=project, person=person).exists():
        return True
    return GroupAccess.objects.filter(project=project, group__members__person=person).exists()


def group_of(project: Project, person: Person) -> Group | None:
    """Return the group through which the person draws: of those with access, the first by name."""
    return (
        Group.objects.current()
        .filter(project_access__project=project, members__person=person)
        .order_by("name", "pk")
        .first()
    )

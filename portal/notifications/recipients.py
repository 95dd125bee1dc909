"""Whom an alert concerns: owners of the project, administrators of its group, administrators, by the settings."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db import transaction

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.accounts.models import Person
from portal.accounts.policy import Role
from portal.lib.errors import RuleBroken
from portal.notifications.models import Recipient
from portal.organization.models import Organization
from portal.organization.selectors import current


@dataclass(frozen=True, slots=True)
class Responsible:
    """Ids of the people to tell, by what it is about."""

    always: tuple[int, ...] = ()
    owners: dict[int, list[int]] = field(default_factory=dict)
    group_admins: dict[int, list[int]] = field(default_factory=dict)

    def of(self, project: int | None = None, groups: Iterable[int | None] = ()) -> list[int]:
        """Return the people for a project, groups, both or neither, each once."""
        found = [*self.owners.get(project or 0, ())]
        for group in groups:
            found += self.group_admins.get(group or 0, ())
        return list(dict.fromkeys([*found, *self.always]))


def responsible(
    projects: Iterable[int] = (), groups: Iterable[int] = (), organization: Organization | None = None
) -> Responsible:
    """Return whom the settings want told about these projects and groups; six queries at most, for any number."""
    settings = organization or current()
    active = Person.objects.active()
    always = list(Recipient.objects.filter(person__is_active=True).values_list("person", flat=True))
    if settings.alert_admins:
        always += active.filter(role_grants__role=Role.ADMIN).values_list("pk", flat=True)
    owners: dict[int, list[int]] = {}
    wanted = set(projects)
    if settings.alert_owners and wanted:
        rows = active.filter(memberships__role=Role.OWNER, memberships__project__in=wanted).values_list(
            "memberships__project", "pk"
        )
        _gather(owners, rows)
    admins: dict[int, list[int]] = {}
    wanted = set(groups)
    if settings.alert_group_admins and wanted:
        granted = active.filter(
            role_grants__role=Role.GROUP_ADMIN, role_grants__group__in=wanted
        ).values_list("role_grants__group", "pk")
        _gather(admins, granted)
        # A grant without a group is for the groups that the person belongs to.
        inside = active.filter(
            pk__in=active.filter(role_grants__role=Role.GROUP_ADMIN, role_grants__group=None),
            group_memberships__group__in=wanted,
        ).values_list("group_memberships__group", "pk")
        _gather(admins, inside)
    return Responsible(tuple(dict.fromkeys(always)), owners, admins)


def _gather(found: dict[int, list[int]], rows: Iterable[tuple[int, int]]) -> None:
    for key, person in rows:
        found.setdefault(key, []).append(person)


@transaction.atomic(durable=True)
def add_recipient(person: Person, *, actor: Actor) -> Recipient:
    """Have the person told about every alert."""
    if not person.is_active:
        raise RuleBroken(f"{person.name} is not active.", field="person")
    recipient, is_new = Recipient.objects.get_or_create(person=person, defaults={"added_by": actor.display})
    if not is_new:
        raise RuleBroken(f"{person.name} already gets every alert.", field="person")
    record(Action.RECIPIENT_ADDED, actor=actor, target=_target(person))
    return recipient


@transaction.atomic(durable=True)
def remove_recipient(recipient: Recipient, *, actor: Actor) -> None:
    """Tell the person only what concerns their roles from now on."""
    if Recipient.objects.filter(pk=recipient.pk).delete()[0]:
        record(Action.RECIPIENT_REMOVED, actor=actor, target=_target(recipient.person))


def _target(person: Person) -> Target:
    return Target("person", str(person.pk), str(person))

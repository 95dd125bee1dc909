"""What the directory's word means for a person: leaving, returning, being in no group any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from apikeys.services import update_api_key
from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.accounts import graph
from portal.accounts.actors import target_of
from portal.accounts.graph import DirectoryPerson
from portal.accounts.models import Person, Session
from portal.decision import subjects
from portal.directory import certificates
from portal.directory.models import DirectoryState
from portal.directory.selectors import administrators, left_behind
from portal.lib.errors import RuleBroken
from portal.notifications.models import Kind, Severity
from portal.notifications.services import notify
from projects.models import Membership, Project
from projects.services import add_member, remove_member, republish_named_users
from tokens.services import resume_tokens_of, suspend_tokens_of

BECAUSE = {
    "disabled": "The account is disabled in the directory.",
    "deleted": "The account is no longer in the directory.",
}


def follow(*, person: Person, found: DirectoryPerson, actor: Actor) -> str:
    """Bring the person in step with the directory; return ``left``, ``returned``, ``changed`` or nothing.

    It compares states, so that doing it again changes nothing.
    """
    change = ""
    if (person.name, person.email, person.is_guest) != (found.name, found.email, found.is_guest):
        take_name(person=person, found=found, actor=actor)
        change = "changed"
    if not found.is_enabled and person.left is None:
        depart(person=person, because="disabled", actor=actor)
        return "left"
    if found.is_enabled and person.left is not None:
        welcome_back(person=person, actor=actor)
        return "returned"
    return change


@transaction.atomic(durable=True)
def take_name(*, person: Person, found: DirectoryPerson, actor: Actor) -> None:
    """Take name, address and kind of account from the directory."""
    person = Person.objects.select_for_update().get(pk=person.pk)
    now = {"name": found.name, "email": found.email, "is_guest": found.is_guest}
    changes = {name: (getattr(person, name), value) for name, value in now.items()}
    changes = {name: pair for name, pair in changes.items() if pair[0] != pair[1]}
    if not changes:
        return
    Person.objects.filter(pk=person.pk).update(**now)
    record(Action.PERSON_CHANGED, actor=actor, target=target_of(person), changes=changes)


def depart(*, person: Person, because: str, actor: Actor) -> bool:
    """The directory has the person's account disabled or deleted: sessions end, user tokens are suspended, at once.

    Administrators are told when somebody leaves projects or keys that nobody else answers for.
    """
    with subjects.denying(), transaction.atomic(durable=True):
        person = Person.objects.select_for_update().get(pk=person.pk)
        if person.left is not None:
            if person.left_because != because:
                Person.objects.filter(pk=person.pk).update(left_because=because)
            return False
        Session.objects.filter(person=person).delete()
        Person.objects.filter(pk=person.pk).update(
            is_active=False,
            left=timezone.now(),
            left_because=because,
            session_epoch=F("session_epoch") + 1,
        )
        person.refresh_from_db()
        suspended = suspend_tokens_of(person, reason=BECAUSE[because], actor=actor)
        _republish_names(person)
        record(
            Action.PERSON_LEFT,
            actor=actor,
            target=target_of(person),
            changes={"account": ("enabled", because), "tokens_suspended": (None, suspended)},
            comment=BECAUSE[because],
        )
        _tell(person)
    return True


def welcome_back(*, person: Person, actor: Actor) -> bool:
    """The account is enabled again: the person may sign in, and what `depart` has suspended works again."""
    with transaction.atomic(durable=True):
        person = Person.objects.select_for_update().get(pk=person.pk)
        if person.left is None:
            return False
        before = person.left_because
        Person.objects.filter(pk=person.pk).update(is_active=True, left=None, left_because="")
        person.refresh_from_db()
        resumed = resume_tokens_of(person, reason="The account is enabled again.", actor=actor)
        _republish_names(person)
        record(
            Action.PERSON_RETURNED,
            actor=actor,
            target=target_of(person),
            changes={"account": (before, "enabled"), "tokens_resumed": (None, resumed)},
        )
    return True


def suspend_what_is_left_on(*, person: Person, actor: Actor) -> int:
    """Suspend tokens of somebody who has left, wherever they came from since."""
    return suspend_tokens_of(person, reason=BECAUSE[person.left_because or "disabled"], actor=actor)


def end_memberships_without_group(*, person: Person, actor: Actor) -> list[str]:
    """Take somebody out of every project whom the directory has in no group at all; return the projects' codes.

    Somebody who has left keeps their places: an account that is enabled again finds everything as it was.
    Raises Unavailable where the directory does not answer: nothing changes then.
    """
    if person.left is not None or person.oid is None or not person.memberships.exists():
        return []
    if graph.person(person.oid) is None or graph.groups_of(person.oid):
        return []
    places = list(person.memberships.select_related("project").order_by("project__code"))
    for place in places:
        remove_member(
            project=place.project,
            person=person,
            actor=actor,
            reason="The person belongs to no group of the directory any more.",
            may_orphan=True,
        )
    with transaction.atomic(durable=True):
        names = ", ".join(place.project.name for place in places)
        notify(
            Kind.ACCESS,
            title=f"{person} lost every membership",
            text=f"{person} belongs to no group of the directory any more and was taken out of {names}.",
            link=reverse("accounts:person", args=[person.pk]),
            people=administrators(),
            once=f"no-groups:{person.pk}:{timezone.now():%Y-%m-%d}",
            severity=Severity.WARN,
        )
    return [place.project.code for place in places]


def tell_group_is_missing(*, pk: int, name: str) -> None:
    """Tell administrators that a group has vanished from the directory."""
    with transaction.atomic(durable=True):
        notify(
            Kind.ACCESS,
            title=f"The group {name} is gone from Entra ID",
            text="Its members are kept as they were. Link another group, or delete it.",
            link=reverse("groups:list"),
            people=administrators(),
            once=f"group-missing:{pk}:{timezone.now():%Y-%m-%d}",
            severity=Severity.WARN,
            group=pk,
        )


@transaction.atomic(durable=True)
def ask_for_run(*, actor: Actor) -> None:
    """Have the worker run the synchronization within seconds."""
    DirectoryState.objects.update_or_create(
        pk=1, defaults={"wanted": timezone.now(), "wanted_by": actor.display[:300]}
    )
    record(Action.SYNC_ASKED, actor=actor, target=Target("directory", "", "Entra ID"))


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What somebody took over."""

    projects: int
    keys: int

    @property
    def words(self) -> str:
        """How a message names it."""
        projects = f"{self.projects} project{'' if self.projects == 1 else 's'}"
        keys = f"{self.keys} API key{'' if self.keys == 1 else 's'}"
        return f"{projects} and {keys}"


def hand_over(*, person: Person, to: Person, actor: Actor, reason: str = "") -> HandedOver:
    """Make `to` an owner of each project only `person` owns, and the owner of their keys; each is audited by itself.

    What is done stays done when a later one is refused; doing it again goes on.
    """
    if to.pk == person.pk:
        raise RuleBroken("Choose somebody else.", field="person")
    if not to.is_active:
        raise RuleBroken(f"{to} is disabled and cannot take over.", field="person")
    left = left_behind(person)
    if not left.needs_somebody:
        raise RuleBroken(f"{person} leaves nothing to take over.")
    why = reason or f"Taken over from {person}."
    for project in left.projects:
        add_member(project=project, person=to, role=Membership.Role.OWNER, actor=actor, reason=why)
    for key in left.keys:
        fields: dict[str, Any] = {"owner": to}
        if key.deputy_id == to.pk:
            fields["deputy"] = None
        update_api_key(key=key, actor=actor, reason=why, **fields)
    return HandedOver(len(left.projects), len(left.keys))


@transaction.atomic(durable=True)
def tell_of_ending_certificates() -> int:
    """Tell administrators of certificates that end within 30 days, again at 7 and at 1; return how many end."""
    ending = [each for each in certificates.certificates() if each.is_ending]
    for each in ending:
        stage = min((days for days in certificates.STAGES if each.days_left < days), default=0)
        is_over = each.days_left < 0
        notify(
            Kind.OPERATIONS,
            title=f"The certificate for {each.use} {'has ended' if is_over else 'ends soon'}",
            text=f"It ends on {each.ends:%-d %B %Y}. Without it nobody can sign in, or the directory cannot be read: "
            "register another one in Entra ID and set it here.",
            link=reverse("accounts:people"),
            people=administrators(),
            once=f"certificate:{each.serial}:{0 if is_over else stage}",
            severity=Severity.BAD if each.days_left < certificates.STAGES[1] else Severity.WARN,
        )
    return len(ending)


def _tell(person: Person) -> None:
    """Tell administrators what nobody else answers for."""
    left = left_behind(person)
    if not left.needs_somebody:
        return
    parts: list[tuple[Sequence[Any], str]] = [
        (left.projects, "project{s} with no other owner"),
        (left.keys, "API key{s} in {their} name"),
    ]
    listed = "; ".join(
        f"{len(found)} {text.format(s='' if len(found) == 1 else 's', their='their')}: "
        + ", ".join(str(each.name) for each in found[:5])
        + (" and more" if len(found) > 5 else "")
        for found, text in parts
        if found
    )
    notify(
        Kind.ACCESS,
        title=f"{person} has left: somebody else must take over",
        text=f"{BECAUSE[person.left_because]} {listed}.",
        link=reverse("accounts:person", args=[person.pk]),
        people=administrators(),
        once=f"left:{person.pk}:{person.left:%Y-%m-%dT%H:%M:%S}",
        severity=Severity.WARN,
    )


def _republish_names(person: Person) -> None:
    """A key that names its users must not name somebody who has left."""
    reached = Project.objects.filter(memberships__person=person) | Project.objects.filter(
        group_access__group__members__person=person
    )
    for project in reached.distinct().order_by("pk"):
        republish_named_users(project)

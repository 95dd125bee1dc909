"""Change who is known and who may do what. Nothing here is found by an e-mail address."""

from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record, record_refused
from portal.accounts.actors import target_of
from portal.accounts.conf import microsoft
from portal.accounts.entra.id_token import Claims
from portal.accounts.graph import DirectoryPerson
from portal.accounts.models import Person, RoleGrant, Session
from portal.accounts.policy import GRANTED_ROLES, Role, toxic_with, without_toxic
from portal.accounts.selectors import roles_granted
from portal.lib.errors import RuleBroken

_ADMINS_LOCK = 7346
ENTRA, PORTAL = RoleGrant.Source.ENTRA, RoleGrant.Source.PORTAL


@transaction.atomic(durable=True)
def person_for_claims(*, claims: Claims, actor: Actor) -> Person:
    """Return the person a verified token names, made on first sight, with the roles Entra ID gives them now."""
    person, is_new = _person(claims.tid, claims.oid, claims.name, claims.email)
    if is_new:
        _record_new(person, actor)
    if person.is_guest != claims.is_guest:
        person.is_guest = claims.is_guest
        person.save(update_fields=["is_guest"])
    _set_entra_roles(person, claims.roles, actor)
    return person


@transaction.atomic(durable=True)
def end_sessions_without_role(*, person: Person, actor: Actor) -> None:
    """End all sessions of somebody who came to sign in and has no role any more."""
    _end_sessions(person)
    record(Action.SESSIONS_ENDED, actor=actor, target=target_of(person), comment="Left without any role.")


@transaction.atomic(durable=True)
def note_sign_in(*, person: Person, actor: Actor) -> None:
    """Note that the person has signed in."""
    Person.objects.filter(pk=person.pk).update(last_sign_in=timezone.now())
    record(Action.SIGNED_IN, actor=actor, target=target_of(person))


@transaction.atomic(durable=True)
def note_sign_out(*, person: Person, actor: Actor) -> None:
    """Note that the person has signed out of this session."""
    record(Action.SIGNED_OUT, actor=actor, target=target_of(person))


@transaction.atomic(durable=True)
def note_session_ended(*, person: Person, actor: Actor, reason: str) -> None:
    """Note that one session of the person was ended, and why."""
    record(Action.SESSION_ENDED, actor=actor, target=target_of(person), comment=reason)


@transaction.atomic(durable=True)
def note_presence(*, person: Person, actor: Actor, kind: str) -> None:
    """Note that Microsoft has confirmed the person for a class of actions."""
    record(Action.PRESENCE_CONFIRMED, actor=actor, target=target_of(person), changes={"for": (None, kind)})


def note_presence_refused(*, person: Person, actor: Actor, reason: str) -> None:
    """Note that a confirmation was not good enough. Call it outside a transaction."""
    record_refused(Action.PRESENCE_CONFIRMED, actor=actor, target=target_of(person), reason=reason)


def note_refusal(*, reason: str, actor: Actor) -> None:
    """Note that somebody was refused at sign-in. Call it outside a transaction."""
    record_refused(Action.SIGN_IN_REFUSED, actor=actor, target=Target("portal", "", "Portal"), reason=reason)


@transaction.atomic(durable=True)
def person_in_directory(*, found: DirectoryPerson, actor: Actor) -> Person:
    """Return the portal's person for somebody found in the directory, made on first sight and without a role."""
    person, is_new = _person(UUID(microsoft.tenant_id), found.oid, found.name, found.email)
    if is_new:
        _record_new(person, actor)
    return person


@transaction.atomic(durable=True)
def person_without_identity(*, email: str, name: str = "", actor: Actor) -> Person:
    """Return the person without identity who stands for an address, made on first sight.

    Such a person cannot sign in, is matched with nobody and is outside the directory sync until `link_person`.
    """
    email = email.strip()
    if not email or len(email) > 320:
        raise RuleBroken("Enter an e-mail address.", field="email")
    person = Person.objects.filter(oid=None, email__iexact=email).order_by("pk").first()
    if person is None:
        person = Person.objects.create(name=(name or email)[:200], email=email)
        _record_new(person, actor)
    return person


@transaction.atomic(durable=True)
def link_person(*, person: Person, found: DirectoryPerson, actor: Actor, reason: str = "") -> Person:
    """Tie a person without identity to an Entra ID account that the portal does not know yet."""
    person = Person.objects.select_for_update().get(pk=person.pk)
    if person.oid:
        raise RuleBroken(f"{person} is linked to an account already.")
    tid = UUID(microsoft.tenant_id)
    if other := Person.objects.filter(tid=tid, oid=found.oid).first():
        raise RuleBroken(
            f"This account is known already, as {other}. Add {other} to the projects and revoke the tokens here.",
            field="person",
        )
    before = {"name": person.name, "email": person.email}
    person.tid, person.oid, person.name, person.email = tid, found.oid, found.name, found.email
    person.save(update_fields=["tid", "oid", "name", "email"])
    changes: dict[str, tuple[str | None, str]] = {
        name: (value, getattr(person, name)) for name, value in before.items()
    }
    changes["oid"] = (None, str(found.oid))
    record(Action.PERSON_LINKED, actor=actor, target=target_of(person), changes=changes, comment=reason)
    return person


@transaction.atomic(durable=True)
def grant_access(
    *,
    person: Person,
    role: str,
    group: int | None = None,
    expires: datetime | None = None,
    actor: Actor,
    reason: str = "",
) -> RoleGrant:
    """Give the person a role at once: what commands do, and pages where no second person is needed."""
    return give_role(person=person, role=role, group=group, expires=expires, actor=actor, reason=reason)


@transaction.atomic
def give_role(
    *, person: Person, role: str, group: int | None, expires: datetime | None, actor: Actor, reason: str
) -> RoleGrant:
    """Give the person a role, effective at the next request and until `expires`, if that is given.

    A group administrator administers `group` (its id), or without one the groups the person belongs to. Roles that
    do not go together (portal.accounts.policy.TOXIC) are refused.
    """
    if role not in GRANTED_ROLES:
        raise RuleBroken(f"Choose one of: {', '.join(GRANTED_ROLES)}.", field="role")
    if group is not None and role != Role.GROUP_ADMIN:
        raise RuleBroken("Only a group administrator is given a group.", field="group")
    person = Person.objects.select_for_update().get(pk=person.pk)
    if person.oid is None:
        raise RuleBroken(f"{person} has no Entra ID account and cannot sign in. Link the account first.")
    _refuse_own(person, actor)
    if person.is_guest and not person.guest_exception:
        raise RuleBroken(
            f"{person} is a guest of the organization. On their page, allow roles for this guest first, with a reason."
        )
    if expires is not None and expires <= timezone.now():
        raise RuleBroken("Choose a day that is still to come.", field="expires")
    refuse_toxic(person, role)
    before = roles_granted(person)
    grant, is_new = RoleGrant.objects.get_or_create(
        person=person,
        role=role,
        group_id=group,
        source=PORTAL,
        defaults={"granted_by": actor.display[:300], "expires": expires},  # type: ignore[misc]
    )
    if grant.group is not None and grant.group.deleted:
        raise RuleBroken(f"The group {grant.group.name} is deleted. Choose another.", field="group")
    if not is_new:
        raise RuleBroken(f"{person} has this role already.", field="role")
    record(
        Action.ACCESS_GRANTED,
        actor=actor,
        target=target_of(person),
        group=group,
        changes={"roles": (before, roles_granted(person))}
        | ({"expires": (None, expires)} if expires else {}),
        comment=reason,
    )
    return grant


@transaction.atomic(durable=True)
def revoke_access(*, person: Person, actor: Actor, reason: str = "") -> list[str]:
    """Take all granted roles away and end the person's sessions; return the roles.

    Roles assigned in Entra ID come back with the next sign-in unless they are removed there.
    """
    person = Person.objects.select_for_update().get(pk=person.pk)
    _refuse_own(person, actor)
    before = roles_granted(person)
    if not before:
        raise RuleBroken(f"{person} has no role that could be revoked.")
    if Role.ADMIN in before:
        refuse_without_admin(person.role_grants.all())
    person.role_grants.all().delete()
    Person.objects.filter(pk=person.pk).update(guest_exception="")
    _end_sessions(person)
    record(
        Action.ACCESS_REVOKED,
        actor=actor,
        target=target_of(person),
        changes={"roles": (before, [])},
        comment=reason,
    )
    return before


@transaction.atomic(durable=True)
def sign_out_everywhere(*, person: Person, actor: Actor, reason: str = "") -> None:
    """End every session of the person, effective at the next request."""
    _end_sessions(person)
    record(Action.SESSIONS_ENDED, actor=actor, target=target_of(person), comment=reason)


@transaction.atomic(durable=True)
def allow_roles_of_guest(*, person: Person, actor: Actor, reason: str) -> None:
    """Make an exception: this guest may hold granted roles, also those that Entra ID assigns."""
    person = Person.objects.select_for_update().get(pk=person.pk)
    _refuse_own(person, actor)
    if not person.is_guest:
        raise RuleBroken(f"{person} is no guest: roles need no exception.")
    if not reason.strip():
        raise RuleBroken("Say why this guest may hold roles.", field="reason")
    before, person.guest_exception = person.guest_exception, reason.strip()[:200]
    person.save(update_fields=["guest_exception"])
    record(
        Action.GUEST_EXCEPTED,
        actor=actor,
        target=target_of(person),
        changes={"guest_exception": (before or None, person.guest_exception)},
        comment=reason,
    )


@transaction.atomic(durable=True)
def end_sessions_at_microsoft(*, sid: str, actor: Actor) -> int:
    """End every session that came from one session at Microsoft; return how many there were."""
    ended = list(Session.objects.filter(sid=sid).select_related("person").order_by("pk"))
    Session.objects.filter(pk__in=[session.pk for session in ended]).delete()
    for session in ended:
        if session.person:
            record(
                Action.SESSION_ENDED,
                actor=actor,
                target=target_of(session.person),
                comment="Signed out at Microsoft.",
            )
    return len(ended)


@transaction.atomic(durable=True)
def end_session(*, person: Person, mark: str, actor: Actor) -> None:
    """End one session of the person, named by its mark; effective at its next request."""
    if Session.objects.filter(person=person, mark=mark).delete()[0]:
        record(Action.SESSION_ENDED, actor=actor, target=target_of(person), changes={"session": (mark, None)})


def _person(tid: UUID, oid: UUID, name: str, email: str) -> tuple[Person, bool]:
    """Return the person of an identity, locked, with name and address as they are now."""
    person, is_new = Person.objects.select_for_update().get_or_create(
        tid=tid, oid=oid, defaults={"name": name, "email": email}
    )
    if (person.name, person.email) != (name, email):
        person.name, person.email = name, email
        person.save(update_fields=["name", "email"])
    return person, is_new


def _set_entra_roles(person: Person, roles: frozenset[Role], actor: Actor) -> None:
    held = person.role_grants.filter(source=PORTAL).values_list("role", flat=True)
    assigned, roles = roles, without_toxic(roles, held)
    refused = ", ".join(sorted(assigned - roles))
    before = roles_granted(person, ENTRA)
    person.role_grants.filter(source=ENTRA).exclude(role__in=roles).delete()
    missing = roles - {Role(role) for role in before}
    RoleGrant.objects.bulk_create(
        [RoleGrant(person=person, role=role, source=ENTRA, granted_by="Entra ID") for role in sorted(missing)]
    )
    after = roles_granted(person, ENTRA)
    if before != after:
        record(
            Action.ROLES_CHANGED,
            actor=actor,
            target=target_of(person),
            changes={"entra_roles": (before, after)},
            comment=f"Not taken over, for it does not go with the others: {refused}." if refused else "",
        )


def _record_new(person: Person, actor: Actor) -> None:
    identity = str(person.oid) if person.oid else None
    changes = {"name": (None, person.name), "email": (None, person.email), "oid": (None, identity)}
    record(Action.PERSON_CREATED, actor=actor, target=target_of(person), changes=changes)


def _end_sessions(person: Person) -> None:
    """End all sessions; one that begins at this very moment is caught by the epoch."""
    Session.objects.filter(person=person).delete()
    Person.objects.filter(pk=person.pk).update(session_epoch=F("session_epoch") + 1)


def refuse_without_admin(going: QuerySet[RoleGrant]) -> None:
    """Raise RuleBroken when nobody would administer the portal without these grants.

    One transaction at a time looks: of two that take the last two administrators, the later one is refused.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ADMINS_LOCK])
    admins = RoleGrant.objects.current().filter(role=Role.ADMIN, person__is_active=True)
    lost = admins.filter(pk__in=going.values("pk"))
    if lost.exists() and not admins.exclude(pk__in=going.values("pk")).filter(expires=None).exists():
        raise RuleBroken(
            "That would leave the portal without an administrator. Give somebody else the role first."
        )


def refuse_toxic(person: Person, role: str) -> None:
    """Refuse a role that does not go with one the person has, granted or as an owner of a project."""
    roles = set(person.role_grants.values_list("role", flat=True))
    if person.memberships.filter(role=Role.OWNER).exists():
        roles.add(Role.OWNER)
    if other := toxic_with(role, roles):
        raise RuleBroken(
            f"{Role(role).label} does not go with {other.label.lower()}, which {person} is. Choose another person.",
            field="role",
        )


def _refuse_own(person: Person, actor: Actor) -> None:
    """Nobody changes their own roles: so the last administrator in the browser cannot lock everybody out."""
    if actor.type == "user" and actor.id == str(person.pk):
        raise RuleBroken("You cannot change your own roles. Ask another administrator.")

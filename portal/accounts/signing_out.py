"""End one's own sessions in other browsers."""

from django.db import transaction

from audit.actions import Action
from audit.actors import Actor
from audit.services import record
from portal.accounts.actors import target_of
from portal.accounts.models import Person, Session


@transaction.atomic(durable=True)
def end_other_sessions(*, person: Person, mark: str, actor: Actor) -> int:
    """End the person's sessions but the one named by its mark; return how many there were."""
    ended = Session.objects.filter(person=person).exclude(mark=mark).delete()[0]
    record(
        Action.SESSIONS_ENDED, actor=actor, target=target_of(person), comment="All but the one that asked."
    )
    return ended

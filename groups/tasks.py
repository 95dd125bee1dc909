"""Celery wakes the look-up of group members."""

import logging

from celery import shared_task
from django.db import OperationalError, close_old_connections

from audit.actors import Actor
from groups.lookup import look_up
from groups.selectors import linked_groups
from portal.lib.errors import Unavailable

log = logging.getLogger(__name__)


@shared_task(name="groups.look_up_members")
def look_up_members() -> None:
    """Every 15 minutes: who belongs to the groups of Entra ID."""
    actor = Actor.job("look_up_members")
    try:
        for group in linked_groups():
            look_up(group, actor=actor)
    except (Unavailable, OperationalError) as error:
        log.warning("look up members: %s; it runs again at its next turn", error)
    finally:
        close_old_connections()

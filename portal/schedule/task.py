"""What every task is: it takes its turn, does its work, and says when it cannot reach what it needs."""

import logging
from datetime import datetime
from typing import Any

from celery import Task
from django.db import InterfaceError, OperationalError, connections

from portal.lib.errors import Unavailable
from portal.schedule import slots

log = logging.getLogger(__name__)
AWAY = (Unavailable, OperationalError, InterfaceError)


class TurnTask(Task):  # type: ignore[type-arg]  # not subscriptable when run
    """A task that runs each of its turns once. A wake-up without a turn simply runs: the work is idempotent."""

    abstract = True

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Run the work if its turn can be taken; what cannot be reached now is tried again at the next one."""
        taken: int | None = None
        try:
            if self.request.get("portal_slot"):
                slot = datetime.fromisoformat(self.request.get("portal_slot"))
                taken = slots.take(self.request.get("portal_job"), slot, self.request.id or "")
                if taken is None:
                    return None
            answer = super().__call__(*arguments, **named)
        except AWAY as error:
            log.warning("%s: %s; it runs again at its next turn", self.name, error)
            _close()
            self._give_back(taken)
            return None
        except BaseException:
            self._give_back(taken)
            raise
        else:
            if taken is not None:
                slots.finish(taken)
            return answer
        finally:
            _close()

    def _give_back(self, taken: int | None) -> None:
        if taken is not None:
            try:
                slots.give_back(taken)
            except AWAY as error:
                # It ends with its lease.
                log.warning("%s keeps its turn: %s", self.name, error)


def _close() -> None:
    # A worker's connections must not outlive a restart of Postgres; inside a transaction of a caller they are his.
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()

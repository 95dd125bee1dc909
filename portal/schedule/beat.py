"""The beat: it keeps nothing on disk, since turns follow from the clock and Postgres knows which were taken."""

from datetime import UTC, datetime
from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from portal.schedule import slots
from portal.schedule.turns import Every


class Turns(Scheduler):
    """Sends each wake-up with the turn it is for."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Send what is due; return the seconds until something else is.

        Every entry is looked at each time: an order by moments would be wrong after a step of the clock.
        """
        waits = [float(self.max_interval or 5)]
        for entry in list(self.schedule.values()):
            is_due, wait = entry.is_due()
            if is_due:
                due: Any = self.reserve(entry)
                self.apply_entry(due, producer=self.producer)
            waits.append(float(wait))
        return max(0.0, min(waits))

    def apply_async(
        self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **named: Any
    ) -> Any:
        """Send one wake-up."""
        turns = entry.schedule
        if isinstance(turns, Every) and turns.has_slots:
            marked = slots.headers(str(entry.name), turns.slot(datetime.now(UTC)))
            entry.options = {**(entry.options or {}), "headers": marked}
        return super().apply_async(entry, producer=producer, advance=advance, **named)

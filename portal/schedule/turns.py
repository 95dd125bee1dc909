"""When jobs have their turns: at multiples of an interval, or at a time of day, by the clock and not by the start."""

from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import schedstate, schedule

# Below this a job drains what waits, as often as it is woken; from here on every turn is taken once.
SLOTTED_FROM = 60


class Every(schedule):
    """Every so many seconds. Two beats find the same turns, and so does one that was restarted."""

    def __init__(self, seconds: float, **others: Any) -> None:
        super().__init__(run_every=timedelta(seconds=seconds), **others)

    def slot(self, moment: datetime) -> datetime:
        """Return the latest turn at the moment."""
        length = self.seconds
        return datetime.fromtimestamp(moment.timestamp() // length * length, UTC)

    @property
    def has_slots(self) -> bool:
        """Whether each turn may be taken only once."""
        return self.seconds >= SLOTTED_FROM

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Return whether a turn has come since, and the seconds to the next."""
        now = datetime.now(UTC)
        slot, last = self.slot(now), self.slot(last_run_at)
        # Set back, the clock finds turns that have been; what drains goes on all the same.
        due = slot > last if self.has_slots else slot != last
        return schedstate(due, (slot + timedelta(seconds=self.seconds) - now).total_seconds())

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.seconds,)


class Daily(Every):
    """Once a day at a time of day in UTC; a turn that was missed is caught up."""

    def __init__(self, hour: int, minute: int, **others: Any) -> None:
        super().__init__(86400, **others)
        self.hour, self.minute = hour, minute

    def slot(self, moment: datetime) -> datetime:
        """Return the latest turn at the moment."""
        today = moment.astimezone(UTC).replace(hour=self.hour, minute=self.minute, second=0, microsecond=0)
        return today if today <= moment else today - timedelta(days=1)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.hour, self.minute)

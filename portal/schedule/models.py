"""Which turns of which jobs have been taken."""

from django.db import models


class Slot(models.Model):
    """One turn of one job. The unique row lets it run once, however many beats and workers there are."""

    job = models.CharField(max_length=60)
    scheduled_for = models.DateTimeField()
    owner = models.CharField(max_length=60, help_text="The message whose worker took it.")
    attempts = models.PositiveSmallIntegerField(default=1)
    until = models.DateTimeField(help_text="Until when it belongs to that worker.")
    finished = models.DateTimeField(null=True)

    class Meta:
        db_table = "schedule_slot"
        constraints = [models.UniqueConstraint(fields=["job", "scheduled_for"], name="schedule_slot_once")]

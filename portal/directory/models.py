"""How far the portal has followed the directory, and what each run did."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class DirectoryState(models.Model):
    """Where the next run goes on. There is exactly one row, with id 1."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    people_link = models.TextField(
        default="", blank=True, help_text="Graph's link; empty: from the beginning."
    )
    full_since = models.DateTimeField(
        null=True, blank=True, help_text="When the reading of everybody began that is not finished yet."
    )
    groups_link = models.TextField(default="", blank=True)
    to_check = ArrayField(
        models.BigIntegerField(),
        default=list,
        blank=True,
        help_text="People taken out of a group, who may be in none any more.",
    )
    wanted = models.DateTimeField(null=True, blank=True, help_text="When somebody asked for a run at once.")
    wanted_by = models.CharField(max_length=300, default="", blank=True)

    class Meta:
        db_table = "directory_state"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="directory_state_single")]

    def __str__(self) -> str:
        return "Directory"


class SyncRun(models.Model):
    """One run of the synchronization. One without an outcome goes on, or was cut off."""

    class Outcome(models.TextChoices):
        """How it ended."""

        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CUT_OFF = "cut_off", "Cut off"

    started = models.DateTimeField(auto_now_add=True)
    finished = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default="", blank=True)
    is_full = models.BooleanField(default=False, help_text="Everybody was read, not only what changed.")
    step = models.CharField(max_length=200, default="", blank=True)
    counts = models.JSONField(default=dict)
    problem = models.CharField(max_length=500, default="", blank=True)
    asked_by = models.CharField(max_length=300, default="", blank=True)

    class Meta:
        db_table = "directory_run"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.started:%Y-%m-%d %H:%M} {self.outcome}"


class WatchedGroup(models.Model):
    """A registered group as it was read: the groups inside it, whose changes are its own."""

    entra_id = models.UUIDField(primary_key=True)
    nested = ArrayField(models.UUIDField(), default=list)
    read = models.DateTimeField()

    class Meta:
        db_table = "directory_group"

    def __str__(self) -> str:
        return str(self.entra_id)

"""What the decision is rebuilt from: subjects, and the outbox of what still has to be published."""

from django.db import models


class Subject(models.Model):
    """One fact sheet of the decision, as the areas last wrote it.

    ``s:ID`` a credential · ``p:PK`` a project · ``w:ID`` a gateway · ``l:SCOPE`` the limits of a scope · ``cfg`` the
    configuration. ``version`` grows with every write of the row, so that an older copy never replaces a newer one.
    """

    key = models.CharField(max_length=100, primary_key=True)
    data = models.JSONField(default=dict)
    version = models.BigIntegerField()

    class Meta:
        db_table = "decision_subject"


class Outbox(models.Model):
    """A subject whose latest version may not have reached Valkey yet."""

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=100)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "decision_outbox"


class Rebuild(models.Model):
    """The decision state was made anew from Postgres. Reservations open at that moment are lost or recounted."""

    id = models.BigAutoField(primary_key=True)
    reason = models.CharField(max_length=40)
    started = models.DateTimeField()
    finished = models.DateTimeField(null=True)
    subjects = models.BigIntegerField(default=0)
    kept_reservations = models.BigIntegerField(default=0)

    class Meta:
        db_table = "decision_rebuild"


class Drift(models.Model):
    """A counter that differed from the record, found and repaired by the check."""

    id = models.BigAutoField(primary_key=True)
    found = models.DateTimeField(auto_now_add=True)
    counter = models.CharField(max_length=320)
    was = models.DecimalField(max_digits=30, decimal_places=0)
    is_now = models.DecimalField(max_digits=30, decimal_places=0)

    class Meta:
        db_table = "decision_drift"

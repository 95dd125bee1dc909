"""What the decision is rebuilt from: subjects, and the outbox of what still has to be published."""

from django.db import models

from portal.spend.models import Total


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
    carried_reservations = models.BigIntegerField(
        default=0, db_default=0, help_text="Made by Postgres meanwhile."
    )
    lost_reservations = models.BigIntegerField(
        default=0, db_default=0, help_text="Open at the loss and known no more."
    )
    lost_calls = models.BigIntegerField(
        default=0, db_default=0, help_text="Reserved before it, reported after it."
    )
    lost_spend = Total(default=0, db_default=0, help_text="What these calls had reserved.")

    class Meta:
        db_table = "decision_rebuild"


class Decider(models.Model):
    """Who decides: one row, with id 1. See the record of decisions, number 10."""

    class State(models.TextChoices):
        VALKEY = "valkey", "Valkey decides"
        MOVING = "moving", "Nobody decides until Valkey surely does not any more"
        POSTGRES = "postgres", "Postgres decides"
        RETURNING = "returning", "Postgres decides while Valkey is rebuilt"

    id = models.SmallIntegerField(primary_key=True, default=1)
    state = models.CharField(max_length=9, choices=State.choices, default=State.VALKEY)
    epoch = models.BigIntegerField(default=0, help_text="Of the rebuild that Valkey decides from.")
    changed = models.DateTimeField()

    class Meta:
        db_table = "decision_decider"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="decision_decider_single")]


class Renewer(models.Model):
    """A web process that may let Valkey go on deciding for a while although Postgres cannot be reached."""

    id = models.UUIDField(primary_key=True)
    place = models.CharField(max_length=100, help_text="The machine and process namespace.")
    pid = models.IntegerField()
    started = models.BigIntegerField(help_text="When the kernel says that the process began.")
    seen = models.DateTimeField()
    reached = models.DateTimeField(null=True, help_text="When it last reached Valkey.")
    acknowledged = models.DateTimeField(
        null=True, help_text="When it learned, or we, that it renews no more."
    )
    open_reservations = models.BigIntegerField(default=0)

    class Meta:
        db_table = "decision_renewer"


class FallbackReservation(models.Model):
    """A reservation that Postgres made, or learned of, while Valkey could not decide."""

    class State(models.TextChoices):
        OPEN = "open", "Open"
        SETTLED = "settled", "Settled"
        RELEASED = "released", "Released"

    key = models.CharField(max_length=60, primary_key=True, help_text="As in Valkey: r:GATEWAY:HASH.")
    state = models.CharField(max_length=8, choices=State.choices)
    fingerprint = models.CharField(max_length=32)
    moment = models.BigIntegerField(help_text="Milliseconds since 1970.")
    expires = models.BigIntegerField(help_text="Milliseconds since 1970.")
    group = models.BigIntegerField(db_column="group_id")
    project = models.BigIntegerField()
    person = models.BigIntegerField()
    draws_on = models.BigIntegerField()
    credential = models.CharField(max_length=12)
    model = models.CharField(max_length=512)
    price = models.BigIntegerField(db_column="price_id")
    spend = models.BigIntegerField()
    tokens = models.BigIntegerField()
    used_tokens = models.BigIntegerField(default=0, help_text="What a settled call really used.")
    request_id = models.CharField(max_length=128)
    gateway = models.CharField(max_length=12)

    class Meta:
        db_table = "decision_fallback_reservation"
        indexes = [
            models.Index(
                fields=["expires"], condition=models.Q(state="open"), name="decision_fallback_open_idx"
            )
        ]


class Outage(models.Model):
    """A time in which a server was away and the other one served alone."""

    class Server(models.TextChoices):
        VALKEY = "valkey", "Valkey"
        POSTGRES = "postgres", "Postgres"

    id = models.BigAutoField(primary_key=True)
    server = models.CharField(max_length=8, choices=Server.choices)
    began = models.DateTimeField()
    ended = models.DateTimeField(null=True)
    admitted = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)

    class Meta:
        db_table = "decision_outage"
        constraints = [
            models.UniqueConstraint(
                fields=["server"], condition=models.Q(ended=None), name="decision_outage_open_once"
            )
        ]
        indexes = [models.Index(fields=["-began"], name="decision_outage_began_idx")]


class Drift(models.Model):
    """A counter that differed from the record, found and repaired by the check."""

    id = models.BigAutoField(primary_key=True)
    found = models.DateTimeField(auto_now_add=True)
    counter = models.CharField(max_length=320)
    was = models.DecimalField(max_digits=30, decimal_places=0)
    is_now = models.DecimalField(max_digits=30, decimal_places=0)

    class Meta:
        db_table = "decision_drift"

"""What people are told, and how far the telling has come."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal.lib.uuid7 import uuid7


class Kind(models.TextChoices):
    """What a message is about."""

    THRESHOLD = "threshold", "Threshold passed"
    FORECAST = "forecast", "Forecast to run out"
    REFUSED = "refused", "Requests refused"
    DRIFT = "drift", "Counter repaired"
    EXPIRY = "expiry", "Credential expires"
    UNUSED = "unused", "Credential unused"
    REQUEST = "request", "Request for a raise"
    ACCESS = "access", "Access and people"
    OPERATIONS = "operations", "Operations"
    TEST = "test", "Test message"


class Severity(models.TextChoices):
    """How urgent a message is."""

    INFO = "info", "For information"
    WARN = "warn", "Needs attention"
    BAD = "bad", "Needs action"


class Message(models.Model):
    """One thing that happened. `once` says what it is about, so that it is told once however often it is found."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=20, choices=Kind)
    severity = models.CharField(max_length=4, choices=Severity, default=Severity.INFO)
    title = models.CharField(max_length=200)
    text = models.TextField()
    link = models.CharField(max_length=500, blank=True, help_text="A path of the portal that explains.")
    once = models.CharField(max_length=250, unique=True)
    project_id = models.BigIntegerField(null=True, blank=True)
    group_id = models.BigIntegerField(null=True, blank=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "message"
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.title


class Webhook(models.Model):
    """An address outside that is told. Address and secrets are kept sealed: see portal.web.sealing."""

    class Format(models.TextChoices):
        """What the receiver understands."""

        STANDARD = "standard", "Signed webhook"
        SLACK = "slack", "Slack"
        TEAMS = "teams", "Microsoft Teams"

    name = models.CharField(max_length=120)
    format = models.CharField(max_length=10, choices=Format)
    address = models.BinaryField(help_text="Sealed: who knows the address of a chat may write to it.")
    shown = models.CharField(max_length=200, help_text="What people see of the address.")
    secret = models.BinaryField(help_text="Sealed; empty for chats.", blank=True)
    previous_secret = models.BinaryField(blank=True, default=bytes)
    previous_until = models.DateTimeField(null=True, blank=True)
    kinds = models.JSONField(default=list, blank=True, help_text="Kinds it is told about; empty: every one.")
    version = models.PositiveIntegerField(default=1)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300, blank=True)
    removed = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "webhook"
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(removed__isnull=True), name="webhook_name_unique"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def kind_labels(self) -> list[str]:
        """The kinds it is told about, in words."""
        return [Kind(kind).label for kind in self.kinds]


class Delivery(models.Model):
    """One message on its way to one recipient: a person, by e-mail or in the portal alone, or a webhook."""

    class Channel(models.TextChoices):
        """How it travels."""

        EMAIL = "email", "E-mail"
        WEBHOOK = "webhook", "Webhook"
        PORTAL = "portal", "Portal"

    class State(models.TextChoices):
        """How far it has come."""

        WAITING = "waiting", "Waiting"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=10, choices=Channel)
    person = models.ForeignKey(
        "accounts.Person", on_delete=models.CASCADE, null=True, blank=True, related_name="deliveries"
    )
    webhook = models.ForeignKey(
        Webhook, on_delete=models.CASCADE, null=True, blank=True, related_name="deliveries"
    )
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt = models.DateTimeField(null=True, blank=True, default=timezone.now)
    error = models.CharField(max_length=300, blank=True)
    delivered = models.DateTimeField(null=True, blank=True)
    seen = models.DateTimeField(null=True, blank=True, help_text="When the person marked it as seen.")

    class Meta:
        db_table = "delivery"
        verbose_name_plural = "deliveries"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["message", "person"], name="delivery_once_a_person"),
            models.UniqueConstraint(fields=["message", "webhook"], name="delivery_once_a_webhook"),
            models.CheckConstraint(
                condition=Q(channel="webhook", webhook__isnull=False, person__isnull=True)
                | Q(channel__in=["email", "portal"], webhook__isnull=True, person__isnull=False),
                name="delivery_one_recipient",
            ),
        ]
        indexes = [
            models.Index(
                fields=["channel", "next_attempt"], condition=Q(state="waiting"), name="delivery_due_index"
            ),
            models.Index(fields=["person", "-id"], name="delivery_person_index"),
            models.Index(fields=["person"], condition=Q(seen__isnull=True), name="delivery_unseen_index"),
            models.Index(fields=["state", "-id"], name="delivery_state_index"),
        ]

    @property
    def recipient(self) -> str:
        """Who or what it goes to, as people know it."""
        return str(self.person or self.webhook)


class Recipient(models.Model):
    """Somebody who is told about every alert, whatever their role."""

    person = models.OneToOneField("accounts.Person", on_delete=models.CASCADE, related_name="alert_recipient")
    added = models.DateTimeField(auto_now_add=True)
    added_by = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "alert_recipient"

"""Requests that a second person decides, and the policy that says what needs one."""

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q


class Request(models.Model):
    """A change somebody asked for, frozen: before, after and the version of the row it would change.

    It executes once, on approval, and only while the version is still the one it was asked for.
    """

    class Kind(models.TextChoices):
        """What is asked for; portal.approvals.kinds knows how each is done."""

        LIMIT = "limit", "Raise of a limit"
        ROLE = "role", "Role"
        PRICE = "price", "Price"

    class State(models.TextChoices):
        """How far it is. Only a waiting request can still change anything."""

        WAITING = "waiting", "Waiting"
        APPROVED = "approved", "Approved"
        DECLINED = "declined", "Declined"
        WITHDRAWN = "withdrawn", "Withdrawn"
        EXPIRED = "expired", "Expired"
        OVERTAKEN = "overtaken", "Changed since"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    thing = models.CharField(max_length=300, help_text="What it would change, in the kind's own grammar.")
    label = models.CharField(max_length=300, help_text="The same for people.")
    project = models.ForeignKey(
        "projects.Project", null=True, blank=True, on_delete=models.CASCADE, related_name="requests"
    )
    group = models.ForeignKey(
        "groups.Group",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="requests",
        help_text="Of a request about the group itself, not about one of its projects.",
    )
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="requests_made"
    )
    beneficiary = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="requests_about",
        help_text="Who gains by it and therefore does not decide it.",
    )
    version = models.CharField(max_length=80, help_text="Of the row it would change; empty: there is none.")
    payload = models.JSONField(help_text="What the kind executes.")
    changes = models.JSONField(help_text="Field → [before, after], exact, as the audit log keeps them.")
    reason = models.CharField(max_length=500)
    ends = models.DateTimeField(null=True, blank=True, help_text="When the value before comes back.")
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField()
    decided = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="requests_decided",
    )
    decision = models.CharField(max_length=500, default="", blank=True, help_text="Why it was decided so.")
    is_alone = models.BooleanField(default=False, help_text="Nobody else could have approved it.")
    made = models.CharField(max_length=80, default="", blank=True, help_text="The version it made.")
    returned = models.DateTimeField(null=True, blank=True, help_text="When its end was dealt with.")

    class Meta:
        db_table = "approval_request"
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "thing"], condition=Q(state="waiting"), name="approval_request_one_waits"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["limit", "role", "price"]), name="approval_request_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=["waiting", "approved", "declined", "withdrawn", "expired", "overtaken"]
                ),
                name="approval_request_state_known",
            ),
            models.CheckConstraint(
                condition=~Q(decided_by=models.F("requester")) | Q(is_alone=True) | Q(state="withdrawn"),
                name="approval_request_four_eyes",
            ),
        ]
        indexes = [
            models.Index(fields=["-created", "-id"], name="approval_request_created_idx"),
            models.Index(fields=["expires"], condition=Q(state="waiting"), name="approval_request_waits_idx"),
            models.Index(
                fields=["ends"],
                condition=Q(state="approved", ends__isnull=False, returned__isnull=True),
                name="approval_request_ends_idx",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.label}"

    @property
    def about_group(self) -> int | None:
        """The id of the group it is about: the group itself, or the one that owns its project."""
        return self.group_id or (self.project.group_id if self.project else None)

    @property
    def is_waiting(self) -> bool:
        """Whether it can still be decided."""
        return self.state == Request.State.WAITING


class ApprovalPolicy(models.Model):
    """What needs a second person. There is exactly one row, with id 1; without it, the defaults hold."""

    class Overcommit(models.TextChoices):
        """What happens when the limits of a group's projects come to more than the group's own."""

        WARN = "warn", "Allowed, with a warning"
        REFUSE = "refuse", "Refused"

    id = models.SmallIntegerField(primary_key=True, default=1)
    roles = models.BooleanField(default=False)
    prices = models.BooleanField(default=False)
    most_raise = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(100_000)],
        help_text="Percent by which somebody who sets limits may raise one alone; empty: any.",
    )
    overcommit = models.CharField(max_length=6, choices=Overcommit.choices, default=Overcommit.WARN)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "approval_policy"
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="approval_policy_single"),
            models.CheckConstraint(
                condition=Q(overcommit__in=["warn", "refuse"]), name="approval_policy_overcommit_known"
            ),
        ]

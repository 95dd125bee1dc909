"""API keys: a project's service credential."""

from datetime import datetime

from django.conf import settings
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Right, Upper
from django.utils import timezone

from portal.credentials.models import CallCredential
from projects.models import Project


class ApiKey(CallCredential):
    """A secret that a system uses in one project. While it is rotated, two secrets share its id and its limits."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=120)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="api_keys"
    )
    deputy = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="deputy_api_keys",
    )
    names_users = models.BooleanField(
        default=False, db_default=False, help_text="Whether calls with it may say for which person they are."
    )
    rotated = models.DateTimeField(null=True, blank=True, help_text="When the current secret was made.")
    secret_used = models.DateTimeField(
        null=True, blank=True, help_text="When the current secret was last used; last_used is of both."
    )
    previous_pepper_id = models.PositiveSmallIntegerField(null=True, blank=True, editable=False)
    previous_digest = models.BinaryField(max_length=32, null=True, blank=True, editable=False)
    previous_hint = models.CharField(max_length=40, default="", db_default="", blank=True, editable=False)
    previous_used = models.DateTimeField(null=True, blank=True)
    previous_until = models.DateTimeField(
        null=True, blank=True, help_text="Until when the previous secret works."
    )

    class Meta:
        db_table = "api_key"
        constraints = [
            models.UniqueConstraint(fields=["key_id"], name="api_key_key_id_unique"),
            models.CheckConstraint(
                condition=Q(previous_until__isnull=True)
                | Q(previous_digest__isnull=False, previous_pepper_id__isnull=False),
                name="api_key_previous_is_whole",
            ),
        ]
        # One for each order and each filter that lists offer.
        indexes = [
            models.Index(fields=["project", "-created"], name="api_key_project_idx"),
            models.Index(fields=["expires", "id"], name="api_key_expires_idx"),
            models.Index(
                F("expires").desc(nulls_last=True), F("id").desc(), name="api_key_latest_expiry_idx"
            ),
            models.Index(fields=["created", "id"], name="api_key_created_idx"),
            models.Index(fields=["name", "id"], name="api_key_by_name_idx"),
            models.Index(fields=["last_used", "id"], name="api_key_unused_idx"),
            models.Index(F("last_used").desc(nulls_last=True), F("id").desc(), name="api_key_used_idx"),
            models.Index(OpClass(Upper("name"), name="text_pattern_ops"), name="api_key_name_idx"),
            models.Index(Right("hint", 4), name="api_key_last_four_idx"),
            models.Index(fields=["revoked"], condition=Q(revoked__isnull=False), name="api_key_revoked_idx"),
            models.Index(
                fields=["suspended"], condition=Q(suspended__isnull=False), name="api_key_suspended_idx"
            ),
            models.Index(
                fields=["previous_until"],
                condition=Q(previous_until__isnull=False),
                name="api_key_rotating_idx",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def rotating_until(self) -> datetime | None:
        """Until when two secrets work; None when only the current one does."""
        until = self.previous_until
        return until if until is not None and until > timezone.now() and self.revoked is None else None

    @property
    def previous(self) -> tuple[int, bytes, datetime] | None:
        """The older secret as the decision knows it: pepper, digest, and until when it works."""
        until = self.previous_until
        if (
            until is None
            or until <= timezone.now()
            or not self.previous_digest
            or not self.previous_pepper_id
        ):
            return None
        return self.previous_pepper_id, bytes(self.previous_digest), until

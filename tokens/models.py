"""User tokens: a person's credential in one project."""

from django.conf import settings
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Right, Upper

from groups.models import Group
from portal.credentials.models import CallCredential
from projects.models import Project


class UserToken(CallCredential):
    """A secret that one person uses in one project."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="tokens")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="tokens")
    name = models.CharField(max_length=120)
    group = models.ForeignKey(
        Group,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The group it draws on.",
    )

    class Meta:
        db_table = "user_token"
        constraints = [models.UniqueConstraint(fields=["key_id"], name="user_token_key_id_unique")]
        # One for each order and each filter that lists offer.
        indexes = [
            models.Index(fields=["project", "-created"], name="user_token_project_idx"),
            models.Index(fields=["created", "id"], name="user_token_created_idx"),
            models.Index(fields=["person"], name="user_token_person_idx"),
            models.Index(fields=["expires", "id"], name="user_token_expires_idx"),
            models.Index(
                F("expires").desc(nulls_last=True), F("id").desc(), name="user_token_latest_expiry_idx"
            ),
            models.Index(fields=["last_used", "id"], name="user_token_unused_idx"),
            models.Index(F("last_used").desc(nulls_last=True), F("id").desc(), name="user_token_used_idx"),
            models.Index(OpClass(Upper("name"), name="text_pattern_ops"), name="user_token_name_idx"),
            models.Index(Right("hint", 4), name="user_token_last_four_idx"),
            models.Index(
                fields=["revoked"], condition=Q(revoked__isnull=False), name="user_token_revoked_idx"
            ),
            models.Index(
                fields=["suspended"], condition=Q(suspended__isnull=False), name="user_token_suspended_idx"
            ),
        ]

    def __str__(self) -> str:
        return self.hint

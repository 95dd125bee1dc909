"""User tokens: a person's credential in one project."""

from django.conf import settings
from django.db import models

from groups.models import Group
from portal.credentials.models import Credential
from projects.models import Project


class UserToken(Credential):
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
        indexes = [
            models.Index(fields=["project", "-created"], name="user_token_project_idx"),
            models.Index(fields=["person"], name="user_token_person_idx"),
        ]

    def __str__(self) -> str:
        return self.hint

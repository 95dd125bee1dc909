"""API keys: a project's service credential."""

from django.conf import settings
from django.db import models

from portal.credentials.models import Credential
from projects.models import Project


class ApiKey(Credential):
    """A secret that a system uses in one project."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=120)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="api_keys"
    )

    class Meta:
        db_table = "api_key"
        constraints = [models.UniqueConstraint(fields=["key_id"], name="api_key_key_id_unique")]
        indexes = [models.Index(fields=["project", "-created"], name="api_key_project_idx")]

    def __str__(self) -> str:
        return self.name

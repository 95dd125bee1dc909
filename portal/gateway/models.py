"""Gateways: the programs that ask for decisions and report usage."""

from django.db import models
from django.db.models import Q

from portal.credentials.models import Credential


class Gateway(Credential):
    """A registered gateway and its own secret."""

    name = models.CharField(max_length=120)
    suspended = models.DateTimeField(
        null=True, blank=True, help_text="Since when it is switched off for the time being."
    )

    class Meta:
        db_table = "gateway"
        constraints = [
            models.UniqueConstraint(fields=["key_id"], name="gateway_key_id_unique"),
            models.UniqueConstraint(
                fields=["name"], condition=Q(revoked__isnull=True), name="gateway_name_unique"
            ),
        ]

    def __str__(self) -> str:
        return self.name

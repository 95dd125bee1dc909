"""What every credential has, whoever holds it: a person, a service or a gateway."""

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone


class CredentialQuerySet(models.QuerySet[Any]):
    """Credentials by their state now."""

    def active(self) -> "CredentialQuerySet":
        """Return those that would pass the credential checks at this moment."""
        return self.filter(Q(expires__isnull=True) | Q(expires__gt=timezone.now()), revoked__isnull=True)


class Credential(models.Model):
    """A secret we can recognize but not show: its id and the HMAC of the whole, under a numbered pepper."""

    key_id = models.CharField(max_length=12, editable=False)
    pepper_id = models.PositiveSmallIntegerField(editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    hint = models.CharField(max_length=40, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300, default="")
    expires = models.DateTimeField(null=True, blank=True)
    revoked = models.DateTimeField(null=True, blank=True)
    last_used = models.DateTimeField(null=True, blank=True, help_text="Accurate to a minute.")

    objects = CredentialQuerySet.as_manager()

    class Meta:
        abstract = True

    @property
    def status(self) -> str:
        """``active``, ``expiring`` (within 14 days), ``expired`` or ``revoked``."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is None:
            return "active"
        left = self.expires - timezone.now()
        if left.total_seconds() <= 0:
            return "expired"
        return "expiring" if left.days < 14 else "active"

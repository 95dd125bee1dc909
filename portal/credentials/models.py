"""What every credential has, whoever holds it: a person, a service or a gateway."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

EXPIRING_DAYS = 14


class CredentialQuerySet(models.QuerySet[Any]):
    """Credentials by their state now."""

    def current(self) -> "CredentialQuerySet":
        """Return those that are neither revoked nor expired; they may be suspended."""
        return self.filter(Q(expires__isnull=True) | Q(expires__gt=timezone.now()), revoked__isnull=True)

    def active(self) -> "CredentialQuerySet":
        """Return those that would pass the credential checks at this moment."""
        return self.current()


class CallCredentialQuerySet(CredentialQuerySet):
    """Credentials of calls by their state now."""

    def active(self) -> "CallCredentialQuerySet":
        """Return those that are not suspended either; they may become valid later."""
        return self.current().filter(suspended__isnull=True)  # type: ignore[return-value]


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

    objects: ClassVar[Any] = CredentialQuerySet.as_manager()

    class Meta:
        abstract = True

    @property
    def is_suspended(self) -> bool:
        """Whether it is switched off for the time being; only credentials of calls can be."""
        return False

    @property
    def starts(self) -> datetime | None:
        """When it becomes valid, if that is to come; only credentials of calls can wait."""
        return None

    @property
    def status(self) -> str:
        """``active``, ``starting`` later, ``expiring`` in 14 days, ``expired``, ``suspended`` or ``revoked``."""
        now = timezone.now()
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return "expired"
        if self.is_suspended:
            return "suspended"
        if self.starts is not None:
            return "starting"
        soon = now + timedelta(days=EXPIRING_DAYS)
        return "expiring" if self.expires is not None and self.expires < soon else "active"


class CallCredential(Credential):
    """A credential of calls. Revoking is final; suspending can be undone, by what suspended it."""

    class Cause(models.TextChoices):
        """What suspended it, and so what may end that."""

        NONE = "", "Not suspended"
        BY_HAND = "by_hand", "By hand"
        PERSON = "person", "Its person was disabled or left"
        UNUSED = "unused", "Unused for too long"

    suspended = models.DateTimeField(null=True, blank=True)
    suspended_for = models.CharField(max_length=300, default="", db_default="", blank=True)
    cause = models.CharField(max_length=8, choices=Cause.choices, default="", db_default="", blank=True)
    not_before = models.DateTimeField(
        null=True, blank=True, help_text="From when on it is valid. Empty: from its issue on."
    )
    resumed = models.DateTimeField(
        null=True, blank=True, help_text="When its last suspension ended; unused time counts from here."
    )
    allowed_models = ArrayField(
        models.CharField(max_length=200),
        null=True,
        blank=True,
        help_text="Empty: every model that the project allows.",
    )
    networks = ArrayField(
        models.CharField(max_length=50), null=True, blank=True, help_text="CIDR blocks. Empty: from anywhere."
    )
    last_used_from = models.CharField(max_length=45, default="", db_default="", blank=True)
    last_used_gateway = models.CharField(max_length=12, default="", db_default="", blank=True)

    objects: ClassVar[Any] = CallCredentialQuerySet.as_manager()

    class Meta:
        abstract = True

    @property
    def is_suspended(self) -> bool:
        """Whether it is switched off for the time being."""
        return self.suspended is not None

    @property
    def starts(self) -> datetime | None:
        """When it becomes valid, if that is to come."""
        return self.not_before if self.not_before and self.not_before > timezone.now() else None

    @property
    def state(self) -> str:
        """The state as the decision knows it, which compares beginning and expiry itself."""
        if self.revoked is not None:
            return "revoked"
        return "suspended" if self.suspended is not None else "active"

    @property
    def last_four(self) -> str:
        """The last characters of the secret, by which people tell credentials apart."""
        return self.hint[-4:]

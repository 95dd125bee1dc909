"""Gateways: the programs that ask for decisions and report usage."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal.credentials.models import Credential

SKEW_SHOWN = timedelta(days=1)


class Gateway(Credential):
    """A registered gateway and its own secret."""

    name = models.CharField(max_length=120)
    suspended = models.DateTimeField(
        null=True, blank=True, help_text="Since when it is switched off for the time being."
    )
    skew = models.IntegerField(
        null=True, blank=True, help_text="Seconds by which its clock was ahead at least; below zero: behind."
    )
    skewed = models.DateTimeField(null=True, blank=True, help_text="When that was last noticed.")

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

    @property
    def clock(self) -> str:
        """What is wrong with its clock (``Clock 2 min ahead``); empty when nothing was noticed within a day."""
        if self.skew is None or self.skewed is None or timezone.now() - self.skewed > SKEW_SHOWN:
            return ""
        seconds = abs(self.skew)
        size = f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
        return f"Clock {size} {'ahead' if self.skew > 0 else 'behind'}"

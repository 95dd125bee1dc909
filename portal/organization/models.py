"""The organization: one row, its name and the policies that hold everywhere."""

from django.db import models

from portal.lib import windows


class Organization(models.Model):
    """The company whose calls the portal governs. There is exactly one row, with id 1."""

    class FailurePolicy(models.TextChoices):
        CLOSED = "closed", "Refuse"
        OPEN = "open", "Admit up to an amount"

    id = models.SmallIntegerField(primary_key=True, default=1)
    name = models.CharField(max_length=120, default="My organization")
    currency = models.CharField(max_length=3, default="USD", help_text="ISO 4217; fixed by the first usage.")
    time_zone = models.CharField(
        max_length=64, default="UTC", help_text="An IANA name; days end at its midnight."
    )
    zone_history = models.TextField(
        default="", db_default="", blank=True, help_text="For portal.lib.windows; see changed_zone."
    )
    token_days_default = models.PositiveSmallIntegerField(default=90)
    token_days_max = models.PositiveSmallIntegerField(default=365)
    failure_policy = models.CharField(
        max_length=6,
        choices=FailurePolicy.choices,
        default=FailurePolicy.CLOSED,
        db_default=FailurePolicy.CLOSED,
        help_text="What gateways do with calls while nobody can decide.",
    )
    failure_amount = models.BigIntegerField(
        default=0, db_default=0, help_text="Open: each gateway may spend so much (nano-units) in one outage."
    )

    alert_thresholds = models.CharField(
        max_length=60,
        default="50,80,95,100",
        db_default="50,80,95,100",
        help_text="Percent of a limit at which people are told, rising.",
    )
    alert_admins = models.BooleanField(default=True, db_default=True)
    alert_group_admins = models.BooleanField(default=True, db_default=True)
    alert_owners = models.BooleanField(default=True, db_default=True)
    unused_flag_days = models.PositiveSmallIntegerField(
        default=90, db_default=90, help_text="A credential unused for so long is flagged."
    )
    unused_suspend_days = models.PositiveSmallIntegerField(
        default=180, db_default=180, help_text="A credential unused for so long is suspended."
    )
    reminder_days = models.CharField(
        max_length=60,
        default="30,7,1",
        db_default="30,7,1",
        help_text="Days before a credential expires at which people are told, falling.",
    )

    class Meta:
        db_table = "organization"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(unused_flag_days__lte=models.F("unused_suspend_days")),
                name="organization_unused_days",
            ),
            models.CheckConstraint(condition=models.Q(id=1), name="organization_single"),
            models.CheckConstraint(
                condition=models.Q(token_days_default__lte=models.F("token_days_max")),
                name="organization_token_days",
            ),
            models.CheckConstraint(
                condition=models.Q(failure_amount__gte=0), name="organization_failure_amount"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> str:
        """What portal.lib.windows takes as the zone: a zone that is changed holds from the next day on."""
        is_known = windows.current_name(self.zone_history) == self.time_zone
        return self.zone_history if is_known else self.time_zone

    @property
    def thresholds(self) -> tuple[int, ...]:
        """The percents of a limit at which people are told, rising."""
        return _numbers(self.alert_thresholds)

    @property
    def reminders(self) -> tuple[int, ...]:
        """The days before a credential expires at which people are told, falling."""
        return _numbers(self.reminder_days)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)

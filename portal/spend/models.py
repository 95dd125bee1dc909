"""Limits, the price book, the ledger of usage and its roll-ups.

Ledger and inbox are append-only for the product: a correction is a further row. Both are made by SQL (partitions,
no foreign keys: what was spent stays when its project is gone).
"""

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q


class Total(models.BigIntegerField):  # type: ignore[type-arg]  # not subscriptable when run
    """A sum of nano-units. One amount fits a bigint, the sum of many does not: it is kept as numeric, read as int."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        """Return the column's type."""
        return "numeric(30, 0)"

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> int | None:
        """Return what the database holds as an integer."""
        return None if value is None else int(value)


class Limit(models.Model):
    """At most ``amount`` of the metric in each window of the scope, for one model or for all."""

    class Metric(models.TextChoices):
        SPEND = "spend", "Spend"
        REQUESTS = "requests", "Requests"
        TOKENS = "tokens", "Model tokens"
        CONCURRENCY = "concurrency", "Calls in flight"

    class Window(models.TextChoices):
        MINUTE = "minute", "Minute"
        DAY = "day", "Day"
        WEEK = "week", "Week"
        MONTH = "month", "Month"
        NONE = "none", "No window"

    class Mode(models.TextChoices):
        ENFORCE = "enforce", "Enforce"
        OBSERVE = "observe", "Observe"

    scope_key = models.CharField(max_length=80)
    metric = models.CharField(max_length=11, choices=Metric.choices)
    window = models.CharField(max_length=6, choices=Window.choices)
    model = models.CharField(max_length=200, default="", blank=True, help_text="A name, a prefix* or empty.")
    mode = models.CharField(max_length=7, choices=Mode.choices, default=Mode.ENFORCE)
    amount = models.BigIntegerField(help_text="Nano-units of the currency for spend, else a count.")
    changed = models.DateTimeField(auto_now=True)
    changed_by = models.CharField(max_length=300, default="")

    class Meta:
        db_table = "spend_limit"
        constraints = [
            models.UniqueConstraint(
                fields=["scope_key", "metric", "window", "model"], name="spend_limit_unique"
            ),
            models.CheckConstraint(condition=Q(amount__gte=0), name="spend_limit_amount_not_negative"),
            models.CheckConstraint(
                condition=Q(metric="concurrency", window="none")
                | Q(metric="spend", window__in=["day", "week", "month"])
                | Q(metric__in=["requests", "tokens"], window__in=["minute", "day", "week", "month"]),
                name="spend_limit_metric_window",
            ),
        ]


class Price(models.Model):
    """What a model costs from a moment on, per million tokens. Never changed: a new price is a new row."""

    model = models.CharField(max_length=200)
    input = models.DecimalField(max_digits=21, decimal_places=9)
    cached_input = models.DecimalField(
        max_digits=21, decimal_places=9, null=True, help_text="None: as input."
    )
    cache_write = models.DecimalField(max_digits=21, decimal_places=9, null=True, help_text="None: as input.")
    output = models.DecimalField(max_digits=21, decimal_places=9)
    ceiling = models.PositiveIntegerField(
        null=True, help_text="The most output tokens the model can produce."
    )
    context_window = models.PositiveIntegerField(null=True)
    effective = models.DateTimeField()
    rate = models.DecimalField(
        max_digits=18, decimal_places=9, default=1, help_text="Currency units per USD."
    )
    source = models.CharField(max_length=80, default="")
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300, default="")

    class Meta:
        db_table = "price"
        constraints = [
            models.CheckConstraint(condition=Q(input__gte=0) & Q(output__gte=0), name="price_not_negative"),
        ]
        indexes = [models.Index(fields=["model", "-effective", "-id"], name="price_model_idx")]


class ModelAlias(models.Model):
    """The name a gateway uses for a model of the price book."""

    alias = models.CharField(max_length=200, primary_key=True)
    model = models.CharField(max_length=200)

    class Meta:
        db_table = "model_alias"


class UnpricedModel(models.Model):
    """A model somebody asked for that has no price: the queue for the price book."""

    model = models.CharField(max_length=200, primary_key=True)
    first_seen = models.DateTimeField(auto_now_add=True)
    last_seen = models.DateTimeField(auto_now=True)
    calls = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "unpriced_model"


class LedgerRow(models.Model):
    """What one call used and cost, or a row that names and changes such a one. Amounts in nano-units."""

    class Kind(models.TextChoices):
        SETTLE = "settle", "Settled"
        ESTIMATE = "estimate", "Estimated"
        REVERSAL = "reversal", "Reversed estimate"
        CORRECTION = "correction", "Correction"

    class Status(models.TextChoices):
        OK = "ok", "Answered"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    id = models.UUIDField(primary_key=True)
    moment = models.DateTimeField(help_text="The instant whose windows it belongs to; the partition key.")
    day = models.DateField(help_text="The local day of that instant.")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    refers_to = models.UUIDField(null=True)
    gateway = models.CharField(max_length=12)
    request_id = models.CharField(max_length=128)
    credential = models.CharField(max_length=12)
    project = models.BigIntegerField()
    group = models.BigIntegerField(
        null=True, db_column="group_id", help_text="The owning group at authorization."
    )
    person = models.BigIntegerField(null=True)
    draws_on = models.BigIntegerField(null=True, help_text="The group through which the person has access.")
    model = models.CharField(max_length=200)
    price = models.BigIntegerField(null=True, db_column="price_id")
    status = models.CharField(max_length=9, choices=Status.choices)
    calls = models.SmallIntegerField()
    input_tokens = models.BigIntegerField()
    cached_input_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()
    spend = models.BigIntegerField()
    reserved = models.BigIntegerField(null=True, help_text="What its reservation held.")
    gateway_cost = models.BigIntegerField(null=True, help_text="The gateway's own figure, never trusted.")
    is_late = models.BooleanField(help_text="It came after its reservation had expired.")
    is_restated = models.BooleanField(help_text="It had no reservation and belongs to an earlier day.")
    occurred = models.DateTimeField()
    arrived = models.DateTimeField()

    class Meta:
        db_table = "ledger"
        managed = False


class Rollup(models.Model):
    """Usage by scope, local day and model: what pages, checks, rebuilds and new limits read."""

    pk = models.CompositePrimaryKey("scope_key", "day", "model")
    scope_key = models.CharField(max_length=80)
    day = models.DateField()
    model = models.CharField(max_length=200)
    calls = models.BigIntegerField()
    failed = models.BigIntegerField()
    cancelled = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    cached_input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    spend = Total()

    class Meta:
        db_table = "spend_rollup"
        managed = False


class CredentialMonth(models.Model):
    """What a credential spent in the latest month in which it was used: what lists of credentials are sorted by.

    Every user token and API key has one from its issue on, by a trigger on their tables. The mover of the inbox adds to
    it with the roll-ups.
    """

    credential = models.CharField(max_length=12, primary_key=True)
    kind = models.CharField(max_length=10, help_text="user_token or api_key.")
    first = models.DateField(
        db_default="1970-01-01", help_text="The first day of the month; 1970: never used."
    )
    spend = Total(db_default=0)

    class Meta:
        db_table = "credential_month"
        indexes = [
            models.Index(fields=["kind", "first", "spend", "credential"], name="credential_month_order_idx")
        ]


class PersonStanding(models.Model):
    """What the list of people is sorted by: their projects, their tokens, and what they spent in their latest month.

    Everybody has one from the beginning on, by a trigger. Triggers count projects and tokens; the mover of the inbox
    adds to the spend with the roll-ups.
    """

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="standing"
    )
    projects = models.IntegerField(db_default=0)
    tokens = models.IntegerField(db_default=0, help_text="Neither revoked nor expired.")
    ends = models.DateTimeField(null=True, help_text="When the next of them expires.")
    first = models.DateField(
        db_default="1970-01-01", help_text="The first day of the month; 1970: never used."
    )
    spend = Total(db_default=0)

    class Meta:
        db_table = "person_standing"
        indexes = [
            models.Index(fields=["projects", "person"], name="person_standing_projects_idx"),
            models.Index(fields=["tokens", "person"], name="person_standing_tokens_idx"),
            models.Index(fields=["first", "spend", "person"], name="person_standing_spend_idx"),
            models.Index(fields=["ends"], name="person_standing_ends_idx"),
        ]


class Refusal(models.Model):
    """A refused call, or several alike in one minute. Kept apart from spend: it cost nothing."""

    decision_id = models.UUIDField(primary_key=True)
    occurred = models.DateTimeField()
    count = models.PositiveBigIntegerField(default=1)
    code = models.CharField(max_length=30)
    is_observed = models.BooleanField(default=False, help_text="An observing limit would have refused it.")
    gateway = models.CharField(max_length=12)
    request_id = models.CharField(max_length=128)
    credential = models.CharField(max_length=12)
    project = models.BigIntegerField(null=True)
    group = models.BigIntegerField(null=True, db_column="group_id")
    person = models.BigIntegerField(null=True)
    model = models.CharField(max_length=200)
    requested = models.BigIntegerField(default=0, help_text="The estimate, nano-units.")
    binding = models.CharField(
        max_length=120, default="", help_text="scope|metric|window|model of the limit."
    )
    checks = models.JSONField(default=list, help_text="Every limit that was looked at, with its numbers.")

    class Meta:
        db_table = "refusal"
        indexes = [
            models.Index(fields=["-occurred", "-decision_id"], name="refusal_occurred_idx"),
            models.Index(fields=["project", "-occurred"], name="refusal_project_idx"),
            models.Index(fields=["credential", "-occurred"], name="refusal_credential_idx"),
        ]


class RefusalBatch(models.Model):
    """The refusals that were last moved out of the stream: one row, with id 1.

    Those that became part of a count have no row of their own by which a mover would know them again.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    counted = ArrayField(models.UUIDField())

    class Meta:
        db_table = "refusal_batch"


class LimitAlert(models.Model):
    """A threshold that a limit has passed in a window; the unique row makes it once a window."""

    limit = models.ForeignKey(Limit, on_delete=models.CASCADE, related_name="alerts")
    counter = models.CharField(max_length=80, help_text="The scope that reached it.")
    window_start = models.DateTimeField()
    threshold = models.PositiveSmallIntegerField(help_text="Percent of the limit.")
    raised = models.DateTimeField(auto_now_add=True)
    used = models.BigIntegerField()

    class Meta:
        db_table = "limit_alert"
        constraints = [
            models.UniqueConstraint(
                fields=["limit", "counter", "window_start", "threshold"], name="limit_alert_once"
            )
        ]


class MonthReport(models.Model):
    """A month that is over, as it stood when its report was frozen. What arrived later is the difference to now."""

    month = models.DateField(unique=True, help_text="Its first local day.")
    frozen = models.DateTimeField(help_text="What had arrived before this moment is in it.")

    class Meta:
        db_table = "month_report"


class MonthLine(models.Model):
    """What the organization, a group or a project had used in a month when its report was frozen."""

    report = models.ForeignKey(MonthReport, on_delete=models.PROTECT, related_name="lines")
    scope_key = models.CharField(max_length=80)
    group = models.ForeignKey(
        "groups.Group", on_delete=models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    project = models.ForeignKey(
        "projects.Project", on_delete=models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    calls = models.BigIntegerField()
    failed = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    spend = Total()

    class Meta:
        db_table = "month_line"
        constraints = [models.UniqueConstraint(fields=["report", "scope_key"], name="month_line_once")]
        indexes = [models.Index(fields=["report", "-spend", "-id"], name="month_line_spend_idx")]

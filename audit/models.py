"""Append-only tables. The database refuses every change and removal; see migration 0002."""

from django.db import models
from django.db.models.functions import Now

from audit.actions import Action, Outcome


class AuditEntry(models.Model):
    """One act: who did what to which object, what it was before, and from where. Never updated, never deleted."""

    id = models.UUIDField(primary_key=True, editable=False)
    occurred = models.DateTimeField(help_text="By the clock of the process that acted.")
    recorded = models.DateTimeField(db_default=Now(), help_text="By the clock of the database.")
    action = models.CharField(max_length=40, choices=Action.choices)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.SUCCESS)
    reason = models.TextField(default="", help_text="Why it was refused or failed.")
    actor_type = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=200)
    actor_display = models.CharField(max_length=300)
    actor_tid = models.CharField(max_length=36, default="")
    actor_oid = models.CharField(max_length=36, default="")
    auth = models.CharField(max_length=200, default="")
    session = models.CharField(max_length=64, default="")
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=512, default="")
    request_id = models.CharField(max_length=64, default="")
    correlation_id = models.CharField(max_length=64, default="")
    organization_id = models.BigIntegerField(default=1)
    group_id = models.BigIntegerField(null=True)
    project_id = models.BigIntegerField(null=True)
    target_type = models.CharField(max_length=30)
    target_id = models.CharField(max_length=200)
    target_label = models.CharField(max_length=300)
    changes = models.JSONField(default=dict, help_text="field: [before, after]")
    comment = models.TextField(default="")
    schema_version = models.SmallIntegerField(default=1)
    canonical = models.TextField(
        help_text="The entry as canonical JSON (RFC 8785 form): what the hash covers."
    )

    class Meta:
        db_table = "audit_entry"
        managed = False


class AuditSeal(models.Model):
    """The place of an entry in the hash chain, written by the database as the last act of its transaction."""

    seq = models.BigIntegerField(primary_key=True)
    entry = models.OneToOneField(
        AuditEntry, on_delete=models.DO_NOTHING, related_name="seal", db_constraint=False
    )
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        db_table = "audit_seal"
        managed = False

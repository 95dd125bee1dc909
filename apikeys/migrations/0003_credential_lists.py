"""An index for each order and filter of the list."""

import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # indexes are made while the table is in use

    dependencies = [("apikeys", "0002_call_credentials")]

    operations = [
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(fields=["expires", "id"], name="api_key_expires_idx"),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(
                models.OrderBy(models.F("expires"), descending=True, nulls_last=True),
                models.OrderBy(models.F("id"), descending=True),
                name="api_key_latest_expiry_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(fields=["created", "id"], name="api_key_created_idx"),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(fields=["name", "id"], name="api_key_by_name_idx"),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(fields=["last_used", "id"], name="api_key_unused_idx"),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(
                models.OrderBy(models.F("last_used"), descending=True, nulls_last=True),
                models.OrderBy(models.F("id"), descending=True),
                name="api_key_used_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(
                django.contrib.postgres.indexes.OpClass(
                    django.db.models.functions.text.Upper("name"), name="text_pattern_ops"
                ),
                name="api_key_name_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(
                django.db.models.functions.text.Right("hint", 4), name="api_key_last_four_idx"
            ),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("revoked__isnull", False)), fields=["revoked"], name="api_key_revoked_idx"
            ),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("suspended__isnull", False)),
                fields=["suspended"],
                name="api_key_suspended_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("previous_until__isnull", False)),
                fields=["previous_until"],
                name="api_key_rotating_idx",
            ),
        ),
    ]

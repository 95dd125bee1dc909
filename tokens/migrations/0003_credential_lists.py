"""An index for each order and filter of the list."""

import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # indexes are made while the table is in use

    dependencies = [("tokens", "0002_call_credentials")]

    operations = [
        AddIndexConcurrently(
            model_name="usertoken",
            index=models.Index(fields=["expires", "id"], name="user_token_expires_idx"),
        ),
        AddIndexConcurrently(
            model_name="usertoken",
            index=models.Index(
                models.OrderBy(models.F("expires"), descending=True, nulls_last=True),
                models.OrderBy(models.F("id"), descending=True),
                name="user_token_latest_expiry_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="usertoken",
            index=models.Index(fields=["last_used", "id"], name="user_token_unused_idx"),
        ),
        AddIndexConcurrently(
            model_name="usertoken",
            index=models.Index(
                models.OrderBy(models.F("last_used"), descending=True, nulls_last=True),
                models.OrderBy(models.F("id"), descending=True),
                name="user_token_used_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="usertoken",
            index=models.Index(
                django.contrib.postgres.indexes.OpClass(
                    django.db.models.functions.text.Upper("name"), name="text_pattern_ops"
                ),
                name="user_token_name_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="usertoken",
            index=models.Index(
                django.db.models.functions.text.Right("hint", 4), name="user_token_last_four_idx"
            ),
        ),
        AddIndexConcurrently(
            model_name="usertoken",
            index=models.Index(
                condition=models.Q(("revoked__isnull", False)),
                fields=["revoked"],
                name="user_token_revoked_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="usertoken",
            index=models.Index(
                condition=models.Q(("suspended__isnull", False)),
                fields=["suspended"],
                name="user_token_suspended_idx",
            ),
        ),
    ]

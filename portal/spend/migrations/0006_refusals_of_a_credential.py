"""The page of a credential shows its latest refusals."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the index is made while the table is in use

    dependencies = [("spend", "0005_kept")]

    operations = [
        AddIndexConcurrently(
            model_name="refusal",
            index=models.Index(fields=["credential", "-occurred"], name="refusal_credential_idx"),
        ),
    ]

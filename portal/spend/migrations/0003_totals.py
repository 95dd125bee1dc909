"""Keep sums of money as numeric: they stay exact beyond a bigint."""

from django.db import migrations

import portal.spend.models


class Migration(migrations.Migration):
    dependencies = [("spend", "0002_ledger")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE spend_rollup ALTER COLUMN spend TYPE numeric(30, 0)",
            "ALTER TABLE spend_rollup ALTER COLUMN spend TYPE bigint",
            state_operations=[
                migrations.AlterField("rollup", "spend", portal.spend.models.Total()),
            ],
        ),
    ]

"""Make the calls of each minute of the last hours: what the monitoring page draws, however many calls there are."""

from django.db import migrations

TABLE = """
CREATE TABLE call_minute (
    minute timestamptz PRIMARY KEY,
    served bigint NOT NULL,
    failed bigint NOT NULL
);
"""


class Migration(migrations.Migration):
    dependencies = [("spend", "0003_touched")]
    operations = [migrations.RunSQL(TABLE, "DROP TABLE call_minute;")]

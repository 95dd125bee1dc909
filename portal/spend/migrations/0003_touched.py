"""Make the queue of projects whose standings are out of date. Rows are only added and taken: nobody waits for a lock."""

from django.db import migrations

TABLE = """
CREATE TABLE spend_touched (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project bigint NOT NULL
);
"""


class Migration(migrations.Migration):
    dependencies = [("spend", "0002_ledger")]
    operations = [migrations.RunSQL(TABLE, "DROP TABLE spend_touched;")]

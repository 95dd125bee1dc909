"""What is kept how long: old partitions of the ledger go by a function of their owner; what a batch of refusals folded."""

import django.contrib.postgres.fields
from django.db import migrations, models

DROP_PARTITIONS = """
-- Runs as the owner. Never what may still be restated, nor what the next months need.
CREATE FUNCTION ledger_drop_partitions(months_kept integer) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    oldest text := 'ledger_' || to_char(
        date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => greatest(months_kept, 3)), 'YYYY_MM');
    name text;
    dropped text[] := '{}';
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'ledger'::regclass AND c.relname ~ '^ledger_[0-9]{4}_[0-9]{2}$' AND c.relname < oldest
         ORDER BY 1
    LOOP
        EXECUTE format('DROP TABLE %I', name);
        dropped := dropped || name;
    END LOOP;
    RETURN dropped;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("spend", "0004_minutes")]
    operations = [
        migrations.RunSQL(DROP_PARTITIONS, "DROP FUNCTION ledger_drop_partitions(integer);"),
        migrations.CreateModel(
            name="RefusalBatch",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                (
                    "counted",
                    django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), size=None),
                ),
            ],
            options={"db_table": "refusal_batch"},
        ),
    ]

"""Lists of keys are sorted by this month's spend."""

from django.db import migrations

# From now on a trigger makes the row; the mover of the inbox (7345003) rests until those there have theirs.
BEGIN = """
CREATE TRIGGER api_key_month_begins AFTER INSERT ON api_key
    FOR EACH ROW EXECUTE FUNCTION credential_month_begins('api_key');
SELECT pg_advisory_xact_lock(7345003);
INSERT INTO credential_month (credential, kind, first, spend)
SELECT c.key_id, 'api_key', coalesce(used.first, '1970-01-01'), coalesce(used.spend, 0)
  FROM api_key AS c
  LEFT JOIN LATERAL (
      SELECT date_trunc('month', day)::date AS first, sum(spend) AS spend
        FROM spend_rollup WHERE scope_key = 'c:' || c.key_id GROUP BY 1 ORDER BY 1 DESC LIMIT 1
  ) AS used ON true;
"""


class Migration(migrations.Migration):
    dependencies = [("apikeys", "0003_credential_lists"), ("spend", "0008_credential_months")]
    operations = [migrations.RunSQL(BEGIN, "DROP TRIGGER api_key_month_begins ON api_key")]

"""Lists of tokens are sorted by issue and by this month's spend."""

from django.db import migrations, models

# From now on a trigger makes the row; the mover of the inbox (7345003) rests until those there have theirs.
BEGIN = """
CREATE TRIGGER user_token_month_begins AFTER INSERT ON user_token
    FOR EACH ROW EXECUTE FUNCTION credential_month_begins('user_token');
SELECT pg_advisory_xact_lock(7345003);
INSERT INTO credential_month (credential, kind, first, spend)
SELECT c.key_id, 'user_token', coalesce(used.first, '1970-01-01'), coalesce(used.spend, 0)
  FROM user_token AS c
  LEFT JOIN LATERAL (
      SELECT date_trunc('month', day)::date AS first, sum(spend) AS spend
        FROM spend_rollup WHERE scope_key = 'c:' || c.key_id GROUP BY 1 ORDER BY 1 DESC LIMIT 1
  ) AS used ON true;
"""


class Migration(migrations.Migration):
    dependencies = [("tokens", "0003_credential_lists"), ("spend", "0008_credential_months")]
    operations = [
        migrations.AddIndex(
            model_name="usertoken",
            index=models.Index(fields=["created", "id"], name="user_token_created_idx"),
        ),
        migrations.RunSQL(BEGIN, "DROP TRIGGER user_token_month_begins ON user_token"),
    ]

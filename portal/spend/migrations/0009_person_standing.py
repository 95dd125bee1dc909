"""What the list of people is sorted by: one row for everybody, made by a trigger."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import portal.spend.models

# From now on a trigger makes the row; the mover of the inbox (7345003) rests until those there have theirs.
BEGIN = """
CREATE FUNCTION person_standing_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO person_standing (person_id) VALUES (NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER person_standing_begins AFTER INSERT ON accounts_person
    FOR EACH ROW EXECUTE FUNCTION person_standing_begins();
SELECT pg_advisory_xact_lock(7345003);
INSERT INTO person_standing (person_id, first, spend)
SELECT p.id, coalesce(used.first, '1970-01-01'), coalesce(used.spend, 0)
  FROM accounts_person AS p
  LEFT JOIN LATERAL (
      SELECT date_trunc('month', day)::date AS first, sum(spend) AS spend
        FROM spend_rollup WHERE scope_key = 'u:' || p.id GROUP BY 1 ORDER BY 1 DESC LIMIT 1
  ) AS used ON true;
"""
UNDO = "DROP TRIGGER person_standing_begins ON accounts_person; DROP FUNCTION person_standing_begins()"


class Migration(migrations.Migration):
    dependencies = [
        ("spend", "0008_credential_months"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("accounts", "0005_guest_exceptions"),
    ]
    operations = [
        migrations.CreateModel(
            name="PersonStanding",
            fields=[
                (
                    "person",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="standing",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("projects", models.IntegerField(db_default=0)),
                ("tokens", models.IntegerField(db_default=0, help_text="Neither revoked nor expired.")),
                ("ends", models.DateTimeField(help_text="When the next of them expires.", null=True)),
                (
                    "first",
                    models.DateField(
                        db_default="1970-01-01", help_text="The first day of the month; 1970: never used."
                    ),
                ),
                ("spend", portal.spend.models.Total(db_default=0)),
            ],
            options={
                "db_table": "person_standing",
                "indexes": [
                    models.Index(fields=["projects", "person"], name="person_standing_projects_idx"),
                    models.Index(fields=["tokens", "person"], name="person_standing_tokens_idx"),
                    models.Index(fields=["first", "spend", "person"], name="person_standing_spend_idx"),
                    models.Index(fields=["ends"], name="person_standing_ends_idx"),
                ],
            },
        ),
        migrations.RunSQL(BEGIN, UNDO),
    ]

"""What lists of credentials are sorted by: the spend of each in the latest month in which it was used."""

from django.db import migrations, models

import portal.spend.models

# For triggers on the tables of credentials; the argument is the kind.
BEGIN = """
CREATE FUNCTION credential_month_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO credential_month (credential, kind) VALUES (NEW.key_id, TG_ARGV[0]);
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("spend", "0007_month_reports")]
    operations = [
        migrations.CreateModel(
            name="CredentialMonth",
            fields=[
                ("credential", models.CharField(max_length=12, primary_key=True, serialize=False)),
                ("kind", models.CharField(help_text="user_token or api_key.", max_length=10)),
                (
                    "first",
                    models.DateField(
                        db_default="1970-01-01", help_text="The first day of the month; 1970: never used."
                    ),
                ),
                ("spend", portal.spend.models.Total(db_default=0)),
            ],
            options={
                "db_table": "credential_month",
                "indexes": [
                    models.Index(
                        fields=["kind", "first", "spend", "credential"], name="credential_month_order_idx"
                    )
                ],
            },
        ),
        migrations.RunSQL(BEGIN, "DROP FUNCTION credential_month_begins()"),
    ]

"""Months that are over keep a frozen report. Nobody changes one, and what arrived later is found by its arrival."""

import django.db.models.deletion
from django.db import migrations, models

import portal.spend.models

KEPT = """
CREATE FUNCTION month_report_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The report of a month is frozen.';
END $$;
CREATE TRIGGER month_report_kept BEFORE UPDATE OR DELETE ON month_report
    FOR EACH ROW EXECUTE FUNCTION month_report_is_frozen();
CREATE TRIGGER month_line_kept BEFORE UPDATE OR DELETE ON month_line
    FOR EACH ROW EXECUTE FUNCTION month_report_is_frozen();
"""
UNKEPT = """
DROP TRIGGER month_line_kept ON month_line;
DROP TRIGGER month_report_kept ON month_report;
DROP FUNCTION month_report_is_frozen();
"""
# What comes late is at the end of its partition: a range of pages says enough, and costs a settlement nothing.
ARRIVED = "CREATE INDEX ledger_arrived_idx ON ledger USING brin (arrived) WITH (autosummarize = on)"
_LINE = [
    "calls",
    "failed",
    "input_tokens",
    "output_tokens",
]


class Migration(migrations.Migration):
    dependencies = [
        ("spend", "0006_refusals_of_a_credential"),
        ("groups", "0001_initial"),
        ("projects", "0001_initial"),
    ]
    operations = [
        migrations.CreateModel(
            name="MonthReport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("month", models.DateField(help_text="Its first local day.", unique=True)),
                ("frozen", models.DateTimeField(help_text="What had arrived before this moment is in it.")),
            ],
            options={"db_table": "month_report"},
        ),
        migrations.CreateModel(
            name="MonthLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("scope_key", models.CharField(max_length=80)),
                *((name, models.BigIntegerField()) for name in _LINE),
                ("spend", portal.spend.models.Total()),
                (
                    "report",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lines",
                        to="spend.monthreport",
                    ),
                ),
                *(
                    (
                        name,
                        models.ForeignKey(
                            db_constraint=False,
                            null=True,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="+",
                            to=to,
                        ),
                    )
                    for name, to in (("group", "groups.group"), ("project", "projects.project"))
                ),
            ],
            options={
                "db_table": "month_line",
                "constraints": [
                    models.UniqueConstraint(fields=["report", "scope_key"], name="month_line_once")
                ],
                "indexes": [models.Index(fields=["report", "-spend", "-id"], name="month_line_spend_idx")],
            },
        ),
        migrations.RunSQL(KEPT, UNKEPT),
        migrations.RunSQL(ARRIVED, "DROP INDEX ledger_arrived_idx"),
    ]

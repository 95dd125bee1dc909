"""How far the directory has been followed, and the runs."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="DirectoryState",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                (
                    "people_link",
                    models.TextField(
                        blank=True, default="", help_text="Graph's link; empty: from the beginning."
                    ),
                ),
                (
                    "full_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the reading of everybody began that is not finished yet.",
                        null=True,
                    ),
                ),
                ("groups_link", models.TextField(blank=True, default="")),
                (
                    "to_check",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(),
                        blank=True,
                        default=list,
                        help_text="People taken out of a group, who may be in none any more.",
                        size=None,
                    ),
                ),
                (
                    "wanted",
                    models.DateTimeField(
                        blank=True, help_text="When somebody asked for a run at once.", null=True
                    ),
                ),
                ("wanted_by", models.CharField(blank=True, default="", max_length=300)),
            ],
            options={
                "db_table": "directory_state",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="directory_state_single")
                ],
            },
        ),
        migrations.CreateModel(
            name="SyncRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("started", models.DateTimeField(auto_now_add=True)),
                ("finished", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[("done", "Done"), ("failed", "Failed"), ("cut_off", "Cut off")],
                        default="",
                        max_length=8,
                    ),
                ),
                (
                    "is_full",
                    models.BooleanField(
                        default=False, help_text="Everybody was read, not only what changed."
                    ),
                ),
                ("step", models.CharField(blank=True, default="", max_length=200)),
                ("counts", models.JSONField(default=dict)),
                ("problem", models.CharField(blank=True, default="", max_length=500)),
                ("asked_by", models.CharField(blank=True, default="", max_length=300)),
            ],
            options={"db_table": "directory_run", "ordering": ["-id"]},
        ),
        migrations.CreateModel(
            name="WatchedGroup",
            fields=[
                ("entra_id", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "nested",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), default=list, size=None
                    ),
                ),
                ("read", models.DateTimeField()),
            ],
            options={"db_table": "directory_group"},
        ),
    ]

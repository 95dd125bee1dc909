"""Indexes for the order by name and for the filter by tag."""

import django.contrib.postgres.indexes
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # indexes are made while the table is in use

    dependencies = [("projects", "0004_tags")]

    operations = [
        AddIndexConcurrently(
            model_name="project",
            index=django.contrib.postgres.indexes.GinIndex(fields=["tags"], name="project_tags_idx"),
        ),
        AddIndexConcurrently(
            model_name="project",
            index=models.Index(fields=["name", "id"], name="project_name_idx"),
        ),
    ]

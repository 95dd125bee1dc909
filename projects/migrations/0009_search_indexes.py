"""Trigram indexes, so that a part of a name or code is found without reading every project."""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.operations import AddIndexConcurrently, TrigramExtension
from django.db import migrations
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    atomic = False  # indexes are made while the table is in use

    dependencies = [("projects", "0008_queue_totals")]

    operations = [
        TrigramExtension(),
        AddIndexConcurrently(
            model_name="project",
            index=GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="project_name_search_idx"),
        ),
        AddIndexConcurrently(
            model_name="project",
            index=GinIndex(OpClass(Upper("code"), name="gin_trgm_ops"), name="project_code_search_idx"),
        ),
    ]

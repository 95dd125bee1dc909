"""Make the standings anew, now with the state of the project, so that the totals are their sum from the first row on."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("projects", "0007_totals"), ("spend", "0003_touched")]
    operations = [
        migrations.RunSQL(
            [
                "DELETE FROM project_standing",
                "INSERT INTO spend_touched (project) SELECT id FROM project ORDER BY id",
            ],
            migrations.RunSQL.noop,
        )
    ]

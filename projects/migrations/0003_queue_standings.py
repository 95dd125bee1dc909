"""Queue every project for its standing: the worker makes them within seconds."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("projects", "0002_standing"), ("spend", "0003_touched")]
    operations = [
        migrations.RunSQL(
            "INSERT INTO spend_touched (project) SELECT id FROM project ORDER BY id", migrations.RunSQL.noop
        )
    ]

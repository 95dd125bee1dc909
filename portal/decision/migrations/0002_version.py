"""Make the sequence that numbers the versions of subjects."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("decision", "0001_initial")]
    operations = [
        migrations.RunSQL("CREATE SEQUENCE decision_version_seq", "DROP SEQUENCE decision_version_seq"),
    ]

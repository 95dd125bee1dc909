"""Remember which time zones held before."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organization", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="organization",
            name="zone_history",
            field=models.TextField(
                blank=True, db_default="", default="", help_text="For portal.lib.windows; see changed_zone."
            ),
        ),
    ]

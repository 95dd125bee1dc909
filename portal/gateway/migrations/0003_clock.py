"""What was noticed of a gateway's clock."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0002_suspended")]

    operations = [
        migrations.AddField(
            model_name="gateway",
            name="skew",
            field=models.IntegerField(
                blank=True,
                help_text="Seconds by which its clock was ahead at least; below zero: behind.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="gateway",
            name="skewed",
            field=models.DateTimeField(blank=True, help_text="When that was last noticed.", null=True),
        ),
    ]

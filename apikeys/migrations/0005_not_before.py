"""A credential may become valid later than it is issued."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("apikeys", "0004_orders_of_lists")]
    operations = [
        migrations.AddField(
            model_name="apikey",
            name="not_before",
            field=models.DateTimeField(
                blank=True, help_text="From when on it is valid. Empty: from its issue on.", null=True
            ),
        ),
    ]

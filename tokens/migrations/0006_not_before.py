"""A credential may become valid later than it is issued."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tokens", "0005_tokens_of_people")]
    operations = [
        migrations.AddField(
            model_name="usertoken",
            name="not_before",
            field=models.DateTimeField(
                blank=True, help_text="From when on it is valid. Empty: from its issue on.", null=True
            ),
        ),
    ]

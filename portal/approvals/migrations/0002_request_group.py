import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0001_initial"),
        ("groups", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="request",
            name="group",
            field=models.ForeignKey(
                blank=True,
                help_text="Of a request about the group itself, not about one of its projects.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="requests",
                to="groups.group",
            ),
        ),
    ]

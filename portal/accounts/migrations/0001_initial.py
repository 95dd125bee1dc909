"""Create people."""

from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Person",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tid", models.UUIDField(blank=True, null=True, verbose_name="Entra ID tenant")),
                ("oid", models.UUIDField(blank=True, null=True, verbose_name="Entra ID object")),
                ("name", models.CharField(max_length=200)),
                ("email", models.CharField(blank=True, max_length=320)),
                ("is_active", models.BooleanField(default=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("last_sign_in", models.DateTimeField(blank=True, null=True)),
                ("session_epoch", models.PositiveIntegerField(default=0)),
            ],
            options={
                "verbose_name": "person",
                "verbose_name_plural": "people",
                "ordering": ["name", "id"],
                "indexes": [
                    models.Index(Lower("name"), F("id"), name="person_name_index"),
                    models.Index(Lower("email"), name="person_email_index"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tid", "oid"), name="person_identity_unique"),
                    models.CheckConstraint(
                        condition=Q(oid__isnull=True, tid__isnull=True)
                        | Q(oid__isnull=False, tid__isnull=False),
                        name="person_identity_whole",
                    ),
                ],
            },
        ),
    ]

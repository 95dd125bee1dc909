"""Create role grants: apart from people, because groups refer to people and grants to groups."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("groups", "__first__"),
    ]

    operations = [
        migrations.CreateModel(
            name="RoleGrant",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("admin", "Administrator"),
                            ("auditor", "Auditor"),
                            ("operator", "Operator"),
                            ("group_admin", "Group administrator"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "source",
                    models.CharField(choices=[("entra", "Entra ID"), ("portal", "Portal")], max_length=10),
                ),
                ("granted", models.DateTimeField(auto_now_add=True)),
                ("granted_by", models.CharField(blank=True, max_length=300)),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        help_text="Group administrators only. Without it, the groups the person belongs to.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="role_grants",
                        to="groups.group",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="role_grants",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["role", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=Q(group__isnull=True),
                        fields=("person", "role", "source"),
                        name="role_grant_unique",
                    ),
                    models.UniqueConstraint(
                        condition=Q(group__isnull=False),
                        fields=("person", "role", "source", "group"),
                        name="role_grant_group_unique",
                    ),
                    models.CheckConstraint(
                        condition=Q(group__isnull=True) | Q(role="group_admin"),
                        name="role_grant_group_for_group_admin",
                    ),
                    models.CheckConstraint(
                        condition=Q(role__in=["admin", "auditor", "operator", "group_admin"]),
                        name="role_grant_role_known",
                    ),
                    models.CheckConstraint(
                        condition=Q(source__in=["entra", "portal"]), name="role_grant_source_known"
                    ),
                ],
            },
        ),
    ]

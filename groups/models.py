"""Groups: cost centres, backed by groups of Entra ID."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class GroupQuerySet(models.QuerySet["Group"]):
    def current(self) -> "GroupQuerySet":
        """Return the groups that have not been deleted."""
        return self.filter(deleted__isnull=True)


class Group(models.Model):
    """A unit that owns projects and may be given access to others. A deleted one is kept for its spend."""

    code = models.SlugField(max_length=40)
    name = models.CharField(max_length=120)
    entra_id = models.UUIDField(null=True, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    deleted = models.DateTimeField(null=True, blank=True)
    looked_up = models.DateTimeField(null=True, blank=True, help_text="When its members were last read.")
    is_missing = models.BooleanField(default=False, help_text="The directory no longer knows it.")

    objects = GroupQuerySet.as_manager()

    class Meta:
        db_table = "group"
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["code"], condition=Q(deleted__isnull=True), name="group_code_unique"
            ),
            models.UniqueConstraint(
                fields=["entra_id"], condition=Q(deleted__isnull=True), name="group_entra_id_unique"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class GroupMember(models.Model):
    """A person whom the directory lists in the group."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="members")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="group_memberships"
    )

    class Meta:
        db_table = "group_member"
        constraints = [models.UniqueConstraint(fields=["group", "person"], name="group_member_unique")]

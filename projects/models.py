"""Projects: the unit that spends."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper

from groups.models import Group
from portal.spend.models import Total


class ProjectQuerySet(models.QuerySet["Project"]):
    def active(self) -> "ProjectQuerySet":
        return self.filter(state=Project.State.ACTIVE)


class Project(models.Model):
    """One use of the gateway, with its own limits, people and credentials."""

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        PAUSED = "paused", "Paused"
        ARCHIVED = "archived", "Archived"

    code = models.SlugField(max_length=40)
    name = models.CharField(max_length=120)
    description = models.TextField(default="", blank=True)
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.PROTECT, related_name="projects")
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    cost_centre = models.CharField(max_length=60, default="", blank=True)
    allowed_models = ArrayField(
        models.CharField(max_length=200),
        null=True,
        blank=True,
        help_text="Empty: every model that has a price.",
    )
    tags = ArrayField(models.CharField(max_length=40), default=list, db_default=[], blank=True)
    members_issue_tokens = models.BooleanField(
        default=True, db_default=True, help_text="Whether members may issue user tokens to themselves."
    )
    created = models.DateTimeField(auto_now_add=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        db_table = "project"
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["code"], name="project_code_unique"),
            models.CheckConstraint(
                condition=Q(state__in=["active", "paused", "archived"]), name="project_state_known"
            ),
        ]
        indexes = [
            GinIndex(fields=["tags"], name="project_tags_idx"),
            GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="project_name_search_idx"),
            GinIndex(OpClass(Upper("code"), name="gin_trgm_ops"), name="project_code_search_idx"),
            models.Index(fields=["name", "id"], name="project_name_idx"),
        ]

    def __str__(self) -> str:
        return self.name


class ProjectStanding(models.Model):
    """What lists sort and filter by, kept by `projects.standing`. Amounts in nano-units; a page reads them anew."""

    project = models.OneToOneField(
        Project, on_delete=models.CASCADE, primary_key=True, related_name="standing"
    )
    state = models.CharField(max_length=8, default="active", db_default="active")
    day = models.DateField(help_text="The local day that `today` means.")
    today = Total()
    month = Total()
    day_limit = models.BigIntegerField(null=True)
    month_limit = models.BigIntegerField(null=True)
    share = models.IntegerField(help_text="Per mille used of the fullest spend limit; -1 without one.")
    tokens = models.IntegerField(help_text="User tokens that work.")
    keys = models.IntegerField(help_text="API keys that work.")
    tokens_used = models.IntegerField(default=0, db_default=0, help_text="Today.")
    tokens_ending = models.IntegerField(default=0, db_default=0, help_text="Within a week.")
    keys_used = models.IntegerField(default=0, db_default=0, help_text="Today.")
    keys_ending = models.IntegerField(default=0, db_default=0, help_text="Within a week.")
    last_used = models.DateTimeField(help_text="The beginning of 1970: never.")
    group_name = models.CharField(max_length=120)
    owner_name = models.CharField(max_length=200, help_text="The first owner.")
    stale_from = models.DateTimeField()

    class Meta:
        db_table = "project_standing"
        indexes = [
            models.Index(fields=["today", "project"], name="project_standing_today_idx"),
            models.Index(fields=["month", "project"], name="project_standing_month_idx"),
            models.Index(fields=["share", "project"], name="project_standing_share_idx"),
            models.Index(fields=["tokens", "project"], name="project_standing_tokens_idx"),
            models.Index(fields=["keys", "project"], name="project_standing_keys_idx"),
            models.Index(fields=["last_used", "project"], name="project_standing_used_idx"),
            models.Index(fields=["group_name", "project"], name="project_standing_group_idx"),
            models.Index(fields=["owner_name", "project"], name="project_standing_owner_idx"),
            models.Index(fields=["stale_from"], name="project_standing_stale_idx"),
        ]


class ProjectTotal(models.Model):
    """The standings of all projects of one state, added up; kept by `projects.standing`."""

    state = models.CharField(max_length=8, primary_key=True)
    projects = models.BigIntegerField()
    near = models.BigIntegerField()
    blocked = models.BigIntegerField()
    without_limit = models.BigIntegerField()
    today = Total()
    month = Total()
    tokens = models.BigIntegerField()
    keys = models.BigIntegerField()
    day_limits = Total()
    month_limits = Total()
    tokens_used = models.BigIntegerField()
    tokens_ending = models.BigIntegerField()
    keys_used = models.BigIntegerField()
    keys_ending = models.BigIntegerField()

    class Meta:
        db_table = "project_total"


class Membership(models.Model):
    """A person's place in a project."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        MEMBER = "member", "Member"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role.choices, default=Role.MEMBER)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "project_membership"
        constraints = [
            models.UniqueConstraint(fields=["project", "person"], name="project_membership_unique")
        ]


class GroupAccess(models.Model):
    """A group whose members may hold tokens in the project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="group_access")
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="project_access")
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "project_group_access"
        constraints = [
            models.UniqueConstraint(fields=["project", "group"], name="project_group_access_unique")
        ]

"""People who sign in or hold credentials, and the roles they were granted."""

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac

from portal.accounts.policy import GRANTED_ROLES, Role


class PersonQuerySet(models.QuerySet["Person"]):
    """Questions about people."""

    def active(self) -> "PersonQuerySet":
        """People who are not disabled."""
        return self.filter(is_active=True)

    def with_identity(self) -> "PersonQuerySet":
        """People tied to an Entra ID account: only they can sign in."""
        return self.filter(oid__isnull=False)


class Person(AbstractBaseUser):
    """Somebody the portal knows. The identity is (tid, oid); name and e-mail address are for reading only.

    A person without tid and oid cannot sign in and is matched with nobody: see
    `portal.accounts.services.person_without_identity`.
    """

    LEFT: ClassVar = [("disabled", "Disabled"), ("deleted", "Deleted")]

    password = None  # type: ignore[assignment]  # there is no local sign-in
    last_login = None  # last_sign_in is written with the audit entry

    tid = models.UUIDField("Entra ID tenant", null=True, blank=True)
    oid = models.UUIDField("Entra ID object", null=True, blank=True)
    name = models.CharField(max_length=200)
    email = models.CharField(max_length=320, blank=True)
    is_active = models.BooleanField(default=True)
    created = models.DateTimeField(auto_now_add=True)
    last_sign_in = models.DateTimeField(null=True, blank=True)
    session_epoch = models.PositiveIntegerField(default=0)
    is_guest = models.BooleanField(default=False, db_default=False, help_text="A guest of the tenant.")
    guest_exception = models.CharField(
        max_length=200, default="", db_default="", blank=True, help_text="Why a guest may hold granted roles."
    )
    left = models.DateTimeField(
        null=True, blank=True, help_text="Since when the directory has the account disabled or deleted."
    )
    left_because = models.CharField(max_length=10, default="", db_default="", blank=True, choices=LEFT)
    seen_in_directory = models.DateTimeField(
        null=True, blank=True, help_text="When the directory last named the account."
    )

    USERNAME_FIELD = "id"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects = PersonQuerySet.as_manager()

    # Set on the person who makes a request, so that one request reads roles once: portal.accounts.policy.roles_of.
    roles_of_request: frozenset[Role] | None = None

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["tid", "oid"], name="person_identity_unique"),
            models.CheckConstraint(
                condition=Q(tid__isnull=True, oid__isnull=True) | Q(tid__isnull=False, oid__isnull=False),
                name="person_identity_whole",
            ),
        ]
        indexes = [
            models.Index(Lower("name"), "id", name="person_name_index"),
            models.Index(Lower("email"), name="person_email_index"),
            models.Index(fields=["left"], name="person_left_index", condition=Q(left__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        """Return the name shown for the person."""
        return str(self)

    def get_session_auth_hash(self) -> str:
        """Return what a session must carry to stay valid; it changes when `session_epoch` does."""
        return self._session_hash(None)

    def get_session_auth_fallback_hash(self):  # type: ignore[no-untyped-def]
        """Yield the same under the older secret keys, while they are being replaced."""
        from django.conf import settings

        for key in settings.SECRET_KEY_FALLBACKS:
            yield self._session_hash(key)

    def _session_hash(self, secret: str | bytes | None) -> str:
        value = f"{self.pk}:{self.session_epoch}"
        return salted_hmac("portal.accounts.session", value, secret=secret, algorithm="sha256").hexdigest()


class Session(AbstractBaseSession):
    """A browser's session; `portal.accounts.sessions` writes it. Moments are seconds since the epoch."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, null=True, related_name="sessions")
    mark = models.CharField(max_length=16, default="", help_text="Names the session without being its key.")
    sid = models.CharField(max_length=200, default="", blank=True, help_text="The session at Microsoft.")
    started = models.BigIntegerField(null=True)
    seen = models.BigIntegerField(null=True)
    address = models.GenericIPAddressField(null=True)
    browser = models.CharField(max_length=300, default="", blank=True)

    class Meta:
        db_table = "accounts_session"
        indexes = [
            models.Index(fields=["mark"], name="session_mark_index"),
            models.Index(fields=["sid"], name="session_sid_index", condition=~Q(sid="")),
        ]

    def __str__(self) -> str:
        return self.mark

    @classmethod
    def get_session_store_class(cls):  # type: ignore[no-untyped-def]
        """Return the engine of this table."""
        from portal.accounts.sessions import SessionStore

        return SessionStore


class RoleGrantQuerySet(models.QuerySet["RoleGrant"]):
    """Questions about grants."""

    def current(self) -> "RoleGrantQuerySet":
        """Grants that give their role now: not over, not suspended by a review."""
        return self.filter(Q(expires=None) | Q(expires__gt=timezone.now()), suspended=None)


class RoleGrant(models.Model):
    """One role of one person: assigned in Entra ID (an app role) or here.

    It gives the role until it expires, and not while it is suspended because a review has not confirmed it.
    """

    class Source(models.TextChoices):
        """Where the role is managed."""

        ENTRA = "entra", "Entra ID"
        PORTAL = "portal", "Portal"

    ROLES: ClassVar = [(role.value, role.label) for role in GRANTED_ROLES]

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="role_grants")
    role = models.CharField(max_length=20, choices=ROLES)
    group = models.ForeignKey(
        "groups.Group",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="role_grants",
        help_text="Group administrators only. Without it, the groups the person belongs to.",
    )
    source = models.CharField(max_length=10, choices=Source.choices)
    granted = models.DateTimeField(auto_now_add=True)
    granted_by = models.CharField(max_length=300, blank=True)
    expires = models.DateTimeField(null=True, blank=True, help_text="When the role ends by itself.")
    confirmed = models.DateTimeField(null=True, blank=True, help_text="When a review last confirmed it.")
    confirmed_by = models.CharField(max_length=300, default="", db_default="", blank=True)
    suspended = models.DateTimeField(null=True, blank=True, help_text="Since when no review confirms it.")

    objects = RoleGrantQuerySet.as_manager()

    class Meta:
        ordering = ["role", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["person", "role", "source"],
                condition=Q(group__isnull=True),
                name="role_grant_unique",
            ),
            models.UniqueConstraint(
                fields=["person", "role", "source", "group"],
                condition=Q(group__isnull=False),
                name="role_grant_group_unique",
            ),
            models.CheckConstraint(
                condition=Q(group__isnull=True) | Q(role="group_admin"),
                name="role_grant_group_for_group_admin",
            ),
            models.CheckConstraint(
                condition=Q(role__in=[role.value for role in GRANTED_ROLES]), name="role_grant_role_known"
            ),
            models.CheckConstraint(
                condition=Q(source__in=["entra", "portal"]), name="role_grant_source_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_role_display()} ({self.get_source_display()})"

    @property
    def is_current(self) -> bool:
        """Whether it gives its role now, as `RoleGrantQuerySet.current` has it."""
        return self.suspended is None and (self.expires is None or self.expires > timezone.now())


class AccessReview(models.Model):
    """Somebody goes through all granted roles; those not confirmed when it is due are suspended."""

    started = models.DateTimeField(auto_now_add=True)
    started_by = models.CharField(max_length=300)
    due = models.DateTimeField()
    closed = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "access_review"
        constraints = [
            models.UniqueConstraint(
                fields=["closed"],
                condition=Q(closed__isnull=True),
                nulls_distinct=False,
                name="access_review_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"Access review of {self.started:%-d %b %Y}"

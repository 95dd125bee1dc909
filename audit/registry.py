"""Which fields of what is audited may stand in the log: plain, redacted, or not at all.

By label and name only, for the log imports nothing from the apps above it. A test holds the lists to the models:
a field that is in none of them fails it.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one model, each in one list.

    Plain ones are written as they are. Of redacted ones the log keeps that they changed and a fingerprint. Ignored
    ones are never written: keys of rows, what is kept for the machinery, what follows from use.
    """

    target: str = ""  # the kind of object in an entry
    plain: str = ""
    redacted: str = ""
    ignored: str = ""

    def names(self, kind: str) -> frozenset[str]:
        """Return the names in one list."""
        return frozenset(str(getattr(self, kind)).split())


_CREDENTIAL = "key_id hint created created_by expires revoked"
_HELD = "not_before suspended suspended_for cause resumed allowed_models networks project"
_USE = "last_used last_used_from last_used_gateway"
AUDITED: Mapping[str, Fields] = {
    "accounts.Person": Fields(
        "person",
        "tid oid name email is_active is_guest guest_exception left left_because",
        ignored="id created last_sign_in session_epoch seen_in_directory",
    ),
    "accounts.Session": Fields(
        "session",
        "person mark started address browser",
        redacted="session_key session_data sid",
        ignored="expire_date seen",
    ),
    "accounts.RoleGrant": Fields(
        plain="person role group source granted granted_by expires confirmed confirmed_by suspended",
        ignored="id",
    ),
    "accounts.AccessReview": Fields("access_review", "started started_by due closed", ignored="id"),
    "organization.Organization": Fields(
        "organization",
        "name currency time_zone zone_history token_days_default token_days_max failure_policy failure_amount"
        " alert_thresholds alert_admins alert_group_admins alert_owners unused_flag_days unused_suspend_days"
        " reminder_days",
        ignored="id",
    ),
    "spend.Limit": Fields(
        "limit", "scope_key metric window model mode amount changed changed_by", ignored="id"
    ),
    "spend.Price": Fields(
        "price",
        "model input cached_input cache_write output ceiling context_window effective rate source created_by",
        ignored="id created",
    ),
    "spend.MonthReport": Fields(plain="month frozen", ignored="id"),
    "spend.MonthLine": Fields(
        plain="report scope_key group project calls failed input_tokens output_tokens spend", ignored="id"
    ),
    "spend.ModelAlias": Fields(plain="alias model"),
    "notifications.Webhook": Fields(
        "webhook",
        "name format shown previous_until kinds created created_by removed",
        redacted="address secret previous_secret",
        ignored="id version",
    ),
    "notifications.Recipient": Fields(plain="person added added_by", ignored="id"),
    "approvals.Request": Fields(
        "request",
        "kind state thing label project group requester beneficiary payload changes reason ends expires decided"
        " decided_by decision is_alone made returned",
        ignored="id created version",
    ),
    "approvals.ApprovalPolicy": Fields(
        "approval_policy", "roles prices most_raise overcommit", ignored="id version"
    ),
    "groups.Group": Fields("group", "code name entra_id created deleted is_missing", ignored="id looked_up"),
    "groups.GroupMember": Fields(plain="group person", ignored="id"),
    "projects.Project": Fields(
        "project",
        "code name description group state cost_centre allowed_models tags members_issue_tokens created",
        ignored="id",
    ),
    "projects.Membership": Fields(plain="project person role added", ignored="id"),
    "projects.GroupAccess": Fields(plain="project group added", ignored="id"),
    "tokens.UserToken": Fields(
        "user_token",
        f"{_CREDENTIAL} {_HELD} person name group",
        redacted="digest",
        ignored=f"id pepper_id {_USE}",
    ),
    "apikeys.ApiKey": Fields(
        "api_key",
        f"{_CREDENTIAL} {_HELD} name owner deputy names_users rotated previous_hint previous_until",
        redacted="digest previous_digest",
        ignored=f"id pepper_id previous_pepper_id previous_used secret_used {_USE}",
    ),
    "gateway.Gateway": Fields(
        "gateway",
        f"{_CREDENTIAL} name suspended skew",
        redacted="digest",
        ignored="id pepper_id last_used skewed",
    ),
}

NOT_AUDITED: Mapping[str, str] = {
    label: why
    for why, labels in {
        "the log itself": "audit.AuditEntry audit.AuditSeal",
        "what was used and refused; corrections are entries": "spend.LedgerRow spend.Rollup spend.Refusal"
        " spend.RefusalBatch spend.UnpricedModel",
        "derived from what is audited": "decision.Subject decision.Outbox projects.ProjectStanding"
        " projects.ProjectTotal spend.CredentialMonth spend.PersonStanding",
        "state of the decision; outages and repairs are entries": "decision.Rebuild decision.Decider"
        " decision.Renewer decision.FallbackReservation decision.Outage decision.Drift",
        "messages sent; what they tell of is an entry": "spend.LimitAlert notifications.Message"
        " notifications.Delivery",
        "turns and runs of jobs": "schedule.Slot directory.DirectoryState directory.SyncRun"
        " directory.WatchedGroup",
    }.items()
    for label in labels.split()
}

_BY_TARGET = {fields.target: fields for fields in AUDITED.values() if fields.target}
# Names that hold a secret in whichever model: no entry shows them, whatever its object is.
_SECRET = frozenset().union(*(fields.names("redacted") for fields in AUDITED.values())) - {"address"}


def is_redacted(target: str, name: str) -> bool:
    """Tell whether the log keeps only a fingerprint of this value of an object of this kind."""
    fields = _BY_TARGET.get(target)
    return name in _SECRET or (fields is not None and name in fields.names("redacted"))


def is_ignored(target: str, name: str) -> bool:
    """Tell whether the log does not keep this value of an object of this kind."""
    fields = _BY_TARGET.get(target)
    return fields is not None and name in fields.names("ignored")

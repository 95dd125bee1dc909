"""Everything that can be written to the audit log: one code (``noun.past``) and one sentence each."""

from django.db import models


class Action(models.TextChoices):
    """The closed registry of audit actions; the label completes a sentence that begins with the actor."""

    SIGNED_IN = "session.started", "signed in"
    SIGN_IN_REFUSED = "session.refused", "was refused at sign-in"
    SIGNED_OUT = "session.ended", "signed out"
    SESSIONS_ENDED = "sessions.ended", "ended all sessions of"
    ACCESS_REFUSED = "access.refused", "was refused access to"
    ACCESS_GRANTED = "access.granted", "granted access to"
    ACCESS_REVOKED = "access.revoked", "revoked the access of"
    ROLES_CHANGED = "roles.changed", "brought other Entra ID roles for"
    PERSON_CREATED = "person.created", "added the person"
    PERSON_LINKED = "person.linked", "linked to Entra ID the person"

    ORGANIZATION_CHANGED = "organization.changed", "changed the settings of"
    LIMIT_CREATED = "limit.created", "set a limit on"
    LIMIT_CHANGED = "limit.changed", "changed a limit on"
    LIMIT_REMOVED = "limit.removed", "removed a limit from"
    LIMIT_REACHED = "limit.reached", "reported a limit reached on"
    DRIFT_REPAIRED = "counter.repaired", "repaired a counter of"
    PRICE_SET = "price.set", "set the price of"
    PRICES_IMPORTED = "prices.imported", "imported prices into"
    STATE_REBUILT = "decision.rebuilt", "rebuilt the decision state of"

    REQUEST_MADE = "request.made", "asked for"
    REQUEST_APPROVED = "request.approved", "approved the request"
    REQUEST_DECLINED = "request.declined", "declined the request"
    REQUEST_WITHDRAWN = "request.withdrawn", "withdrew the request"
    REQUEST_EXPIRED = "request.expired", "let expire the request"
    REQUEST_OVERTAKEN = "request.overtaken", "did nothing, for it was changed since, about the request"
    APPROVAL_POLICY_CHANGED = "approval_policy.changed", "changed"
    LIMIT_RETURNED = "limit.returned", "ended a raised limit of"

    AUDIT_EXPORTED = "audit.exported", "exported entries of"
    USAGE_EXPORTED = "usage.exported", "exported the usage of"

    GROUP_CREATED = "group.created", "registered the group"
    GROUP_DELETED = "group.deleted", "deleted the group"
    GROUP_MEMBERS_CHANGED = "group.members_changed", "found other members in the group"
    PROJECT_CREATED = "project.created", "created the project"
    PROJECT_CHANGED = "project.changed", "changed the project"
    PROJECT_STATE_CHANGED = "project.state_changed", "changed the state of the project"
    MEMBER_ADDED = "member.added", "added a member to"
    MEMBER_REMOVED = "member.removed", "removed a member from"
    GROUP_ADMITTED = "group.admitted", "gave a group access to"
    GROUP_EXCLUDED = "group.excluded", "took a group's access to"

    TOKEN_ISSUED = "token.issued", "issued the user token"
    TOKEN_CHANGED = "token.changed", "changed the user token"
    TOKEN_SUSPENDED = "token.suspended", "suspended the user token"
    TOKEN_RESUMED = "token.resumed", "resumed the user token"
    TOKEN_REVOKED = "token.revoked", "revoked the user token"
    API_KEY_ISSUED = "api_key.issued", "issued the API key"
    API_KEY_CHANGED = "api_key.changed", "changed the API key"
    API_KEY_ROTATED = "api_key.rotated", "gave another secret to the API key"
    API_KEY_OVERLAP_ENDED = "api_key.overlap_ended", "ended the previous secret of the API key"
    API_KEY_SUSPENDED = "api_key.suspended", "suspended the API key"
    API_KEY_RESUMED = "api_key.resumed", "resumed the API key"
    API_KEY_REVOKED = "api_key.revoked", "revoked the API key"
    GATEWAY_REGISTERED = "gateway.registered", "registered the gateway"
    GATEWAY_ROTATED = "gateway.rotated", "gave another secret to the gateway"
    GATEWAY_REVOKED = "gateway.revoked", "revoked the gateway"


class Outcome(models.TextChoices):
    """How it ended: a refusal is by us, a failure is somebody else's."""

    SUCCESS = "success", "Done"
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"

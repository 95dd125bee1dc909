"""Make the append-only tables of the audit log and the chain that seals them."""

import django.db.models.functions.datetime
from django.db import migrations, models

TABLES = """
CREATE TABLE audit_entry (
    id uuid PRIMARY KEY,
    occurred timestamptz NOT NULL,
    recorded timestamptz NOT NULL DEFAULT clock_timestamp(),
    action varchar(40) NOT NULL,
    outcome varchar(8) NOT NULL,
    reason text NOT NULL,
    actor_type varchar(10) NOT NULL,
    actor_id varchar(200) NOT NULL,
    actor_display varchar(300) NOT NULL,
    actor_tid varchar(36) NOT NULL,
    actor_oid varchar(36) NOT NULL,
    auth varchar(200) NOT NULL,
    session varchar(64) NOT NULL,
    ip inet,
    user_agent varchar(512) NOT NULL,
    request_id varchar(64) NOT NULL,
    correlation_id varchar(64) NOT NULL,
    organization_id bigint NOT NULL,
    group_id bigint,
    project_id bigint,
    target_type varchar(30) NOT NULL,
    target_id varchar(200) NOT NULL,
    target_label varchar(300) NOT NULL,
    changes jsonb NOT NULL,
    comment text NOT NULL,
    schema_version smallint NOT NULL,
    canonical text NOT NULL
);
CREATE TABLE audit_seal (
    seq bigint PRIMARY KEY,
    entry_id uuid NOT NULL UNIQUE REFERENCES audit_entry (id),
    prev_hash char(64) NOT NULL,
    hash char(64) NOT NULL
);
CREATE INDEX audit_entry_action_idx ON audit_entry (action, id);
CREATE INDEX audit_entry_actor_idx ON audit_entry (actor_id, id);
CREATE INDEX audit_entry_project_idx ON audit_entry (project_id, id) WHERE project_id IS NOT NULL;
CREATE INDEX audit_entry_group_idx ON audit_entry (group_id, id) WHERE group_id IS NOT NULL;
CREATE INDEX audit_entry_target_idx ON audit_entry (target_type, target_id, id);
"""

# The lock is the last thing a transaction takes: the trigger is deferred to the commit. READ COMMITTED gives each
# statement of the function a new snapshot, so the last seal is read after the lock is held.
SEAL = """
CREATE FUNCTION audit_seal() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    last_seq bigint;
    last_hash char(64);
BEGIN
    PERFORM pg_advisory_xact_lock(7345001);
    SELECT seq, hash INTO last_seq, last_hash FROM audit_seal ORDER BY seq DESC LIMIT 1;
    IF last_seq IS NULL THEN
        last_seq := 0;
        last_hash := repeat('0', 64);
    END IF;
    INSERT INTO audit_seal (seq, entry_id, prev_hash, hash) VALUES (
        last_seq + 1, NEW.id, last_hash,
        encode(sha256(convert_to(last_hash || '1' || NEW.canonical, 'UTF8')), 'hex'));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER audit_entry_seal AFTER INSERT ON audit_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_seal();
ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_seal;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_entry_no_truncate BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_seal_append_only BEFORE UPDATE OR DELETE ON audit_seal
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_seal_no_truncate BEFORE TRUNCATE ON audit_seal
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_append_only;
ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_no_truncate;
ALTER TABLE audit_seal ENABLE ALWAYS TRIGGER audit_seal_append_only;
ALTER TABLE audit_seal ENABLE ALWAYS TRIGGER audit_seal_no_truncate;

DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'portal_app') AND current_user <> 'portal_app' THEN
        REVOKE ALL ON audit_entry, audit_seal FROM portal_app;
        GRANT SELECT, INSERT ON audit_entry TO portal_app;
        GRANT SELECT ON audit_seal TO portal_app;
    END IF;
END $$;
"""

UNDO = """
DROP TABLE audit_seal, audit_entry;
DROP FUNCTION audit_seal();
DROP FUNCTION audit_refuse();
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLES + SEAL, UNDO)],
            state_operations=[
                migrations.CreateModel(
                    name="AuditEntry",
                    fields=[
                        ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                        (
                            "occurred",
                            models.DateTimeField(help_text="By the clock of the process that acted."),
                        ),
                        (
                            "recorded",
                            models.DateTimeField(
                                db_default=django.db.models.functions.datetime.Now(),
                                help_text="By the clock of the database.",
                            ),
                        ),
                        (
                            "action",
                            models.CharField(
                                choices=[
                                    ("session.started", "signed in"),
                                    ("session.refused", "was refused at sign-in"),
                                    ("session.ended", "signed out"),
                                    ("sessions.ended", "ended all sessions of"),
                                    ("access.refused", "was refused access to"),
                                    ("access.granted", "granted access to"),
                                    ("access.revoked", "revoked the access of"),
                                    ("person.created", "added the person"),
                                    ("organization.changed", "changed the settings of"),
                                    ("limit.created", "set a limit on"),
                                    ("limit.changed", "changed a limit on"),
                                    ("limit.removed", "removed a limit from"),
                                    ("limit.reached", "reported a limit reached on"),
                                    ("counter.repaired", "repaired a counter of"),
                                    ("price.set", "set the price of"),
                                    ("prices.imported", "imported prices into"),
                                    ("decision.rebuilt", "rebuilt the decision state of"),
                                    ("group.created", "registered the group"),
                                    ("group.deleted", "deleted the group"),
                                    ("group.members_changed", "found other members in the group"),
                                    ("project.created", "created the project"),
                                    ("project.changed", "changed the project"),
                                    ("project.state_changed", "changed the state of the project"),
                                    ("member.added", "added a member to"),
                                    ("member.removed", "removed a member from"),
                                    ("group.admitted", "gave a group access to"),
                                    ("group.excluded", "took a group's access to"),
                                    ("token.issued", "issued a user token in"),
                                    ("token.revoked", "revoked a user token in"),
                                    ("api_key.issued", "issued an API key in"),
                                    ("api_key.revoked", "revoked an API key in"),
                                    ("gateway.registered", "registered the gateway"),
                                    ("gateway.revoked", "revoked the gateway"),
                                ],
                                max_length=40,
                            ),
                        ),
                        (
                            "outcome",
                            models.CharField(
                                choices=[("success", "Done"), ("refused", "Refused"), ("failed", "Failed")],
                                default="success",
                                max_length=8,
                            ),
                        ),
                        ("reason", models.TextField(default="", help_text="Why it was refused or failed.")),
                        ("actor_type", models.CharField(max_length=10)),
                        ("actor_id", models.CharField(max_length=200)),
                        ("actor_display", models.CharField(max_length=300)),
                        ("actor_tid", models.CharField(default="", max_length=36)),
                        ("actor_oid", models.CharField(default="", max_length=36)),
                        ("auth", models.CharField(default="", max_length=200)),
                        ("session", models.CharField(default="", max_length=64)),
                        ("ip", models.GenericIPAddressField(null=True)),
                        ("user_agent", models.CharField(default="", max_length=512)),
                        ("request_id", models.CharField(default="", max_length=64)),
                        ("correlation_id", models.CharField(default="", max_length=64)),
                        ("organization_id", models.BigIntegerField(default=1)),
                        ("group_id", models.BigIntegerField(null=True)),
                        ("project_id", models.BigIntegerField(null=True)),
                        ("target_type", models.CharField(max_length=30)),
                        ("target_id", models.CharField(max_length=200)),
                        ("target_label", models.CharField(max_length=300)),
                        ("changes", models.JSONField(default=dict, help_text="field: [before, after]")),
                        ("comment", models.TextField(default="")),
                        ("schema_version", models.SmallIntegerField(default=1)),
                        (
                            "canonical",
                            models.TextField(
                                help_text="The entry as canonical JSON (RFC 8785 form): what the hash covers."
                            ),
                        ),
                    ],
                    options={
                        "db_table": "audit_entry",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="AuditSeal",
                    fields=[
                        ("seq", models.BigIntegerField(primary_key=True, serialize=False)),
                        ("prev_hash", models.CharField(max_length=64)),
                        ("hash", models.CharField(max_length=64)),
                    ],
                    options={
                        "db_table": "audit_seal",
                        "managed": False,
                    },
                ),
            ],
        ),
    ]

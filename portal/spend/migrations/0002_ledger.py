"""Make the ledger (partitioned by month), the inbox before it, the settlement keys and the roll-ups."""

from django.db import migrations

COLUMNS = """
    id uuid NOT NULL,
    moment timestamptz NOT NULL,
    day date NOT NULL,
    kind varchar(10) NOT NULL,
    refers_to uuid,
    gateway varchar(12) NOT NULL,
    request_id varchar(128) NOT NULL,
    credential varchar(12) NOT NULL,
    project bigint NOT NULL,
    group_id bigint,
    person bigint,
    draws_on bigint,
    model varchar(200) NOT NULL,
    price_id bigint,
    status varchar(9) NOT NULL,
    calls smallint NOT NULL,
    input_tokens bigint NOT NULL,
    cached_input_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    spend bigint NOT NULL,
    reserved bigint,
    gateway_cost bigint,
    is_late boolean NOT NULL,
    is_restated boolean NOT NULL,
    occurred timestamptz NOT NULL,
    arrived timestamptz NOT NULL
"""

TABLES = f"""
CREATE TABLE ledger ({COLUMNS}) PARTITION BY RANGE (moment);
ALTER TABLE ledger ADD CONSTRAINT ledger_pkey PRIMARY KEY (moment, id);
CREATE INDEX ledger_project_idx ON ledger (project, moment);

-- The inbox is where usage is committed before it is acknowledged. xid tells whether a snapshot has seen the row.
CREATE TABLE usage_inbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    {COLUMNS}
);

-- One row for each call ever reported: 'e' estimated, 's' settled. Its lock orders an estimate and a late report.
CREATE TABLE usage_key (
    gateway varchar(12) NOT NULL,
    request_id varchar(128) NOT NULL,
    state char(1) NOT NULL,
    entry_id uuid NOT NULL,
    moment timestamptz NOT NULL,
    PRIMARY KEY (gateway, request_id)
);

CREATE TABLE spend_rollup (
    scope_key varchar(80) NOT NULL,
    day date NOT NULL,
    model varchar(200) NOT NULL,
    calls bigint NOT NULL,
    failed bigint NOT NULL,
    cancelled bigint NOT NULL,
    input_tokens bigint NOT NULL,
    cached_input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    spend numeric(30, 0) NOT NULL,
    PRIMARY KEY (scope_key, day, model)
) WITH (fillfactor = 80);
CREATE INDEX spend_rollup_day_idx ON spend_rollup (day, scope_key);
"""

PARTITIONS = """
-- Runs as the owner: the application role makes no tables of its own.
CREATE FUNCTION ledger_make_partitions(months_back integer, months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first date;
    made integer := 0;
    name text;
BEGIN
    FOR first IN
        SELECT generate_series(
            date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => months_back),
            date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => months_ahead),
            interval '1 month')::date
    LOOP
        name := 'ledger_' || to_char(first, 'YYYY_MM');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF ledger FOR VALUES FROM (%L) TO (%L)',
                name, first::timestamp AT TIME ZONE 'UTC', (first + interval '1 month')::timestamp AT TIME ZONE 'UTC');
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;
SELECT ledger_make_partitions(3, 3);
"""

UNDO = """
DROP FUNCTION ledger_make_partitions(integer, integer);
DROP TABLE spend_rollup, usage_key, usage_inbox, ledger;
"""


class Migration(migrations.Migration):
    dependencies = [("spend", "0001_initial")]
    operations = [migrations.RunSQL(TABLES + PARTITIONS, UNDO)]
